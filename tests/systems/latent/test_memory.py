"""Pretrained models in less memory: precision, weights that visit the device, and what is said where memory runs out."""

import pytest
import torch
from tests.systems.latent.comparing import picture

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.systems.latent.placing import ROOM, bytes_of, components, fitting

TOLD = {"prompt": ["a cube", "a ball"], "negative": "red", "steps": 2, "seed": 5}
GB = 10**9


def drawn(model, **told):
    """Pictures [n, 3, H, W] in [0, 1]."""
    asked = {**TOLD, **told} if model.codec.text is not None else {"label": [1, 2], "steps": 2, **told}
    samples = model.sample(2, **asked)
    return samples.codec.images(samples.state)


def evaluated(model):
    """The model of Stable Diffusion, whose network is still on the device."""
    model.guided(1.0)(torch.zeros(1, 4, 8, 8), torch.zeros(1), {"prompt": torch.zeros(1, 77, 16)})
    return model


class Watch:
    """Which components have weights away from home, and how many bytes, whenever a module with weights runs."""

    def __init__(self, model):
        self.model = model
        self.home = {id(w): w.data_ptr() for part in components(model) for w in part.parameters()}
        self.seen, self.most = [], 0
        for part in components(model):
            for module in part.modules():
                if any(True for _ in module.parameters(False)):
                    module.register_forward_pre_hook(self.look)

    def away(self, weights):
        return [weight for weight in weights if weight.data_ptr() != self.home[id(weight)]]

    def look(self, module, told):
        own = list(module.parameters(False))
        assert len(self.away(own)) == len(own), "a module runs whose weights did not come"
        parts = [self.away(part.parameters()) for part in components(self.model)]
        self.seen.append(tuple(i for i, found in enumerate(parts) if found))
        self.most = max(self.most, sum(weight.nbytes for found in parts for weight in found))

    def all_home(self):
        return not any(self.away(part.parameters()) for part in components(self.model))


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "dit"])
@pytest.mark.parametrize("way", ["parts", "layers"])
def test_one_part_at_a_time_is_on_the_device_and_the_pictures_are_the_same(saved, name, way):
    folder = saved(name)[1]
    model = perrin.load(folder, offload=way)
    watch = Watch(model)
    assert drawn(model).equal(drawn(perrin.load(folder)))
    assert {len(parts) for parts in watch.seen} == {1}
    assert {part for (part,) in watch.seen} == set(range(len(components(model))))
    sizes = [bytes_of(part) for part in components(model)]
    assert watch.most <= (max(sizes) if way == "parts" else 0.5 * max(sizes))
    assert watch.all_home()
    assert model.hash == perrin.load(folder).hash


def test_the_network_comes_once_for_all_its_evaluations(saved):
    model = perrin.load(saved("stable_diffusion")[1], offload="parts")
    came = []
    first = model.denoiser.net.net.conv_in
    first.register_forward_pre_hook(lambda module, told: came.append(module.weight.data_ptr()))
    model.sample(3, prompt="a", steps=4, batch=2)
    assert len(came) == 2 * 4
    assert len(set(came)) == 1


def test_what_stayed_leaves_when_another_comes_or_it_is_changed(saved):
    model = perrin.load(saved("stable_diffusion")[1], offload="parts")
    watch = Watch(model)
    evaluated(model)
    assert not watch.all_home()
    model.codec.images(torch.zeros(1, 4, 8, 8))
    assert {len(parts) for parts in watch.seen} == {1}
    assert watch.all_home()
    made = evaluated(model).tiled(16)
    assert watch.all_home()
    weights = zip(made.denoiser.net.parameters(), model.denoiser.net.parameters(), strict=True)
    assert all(ours.data_ptr() == own.data_ptr() for ours, own in weights)


@pytest.mark.parametrize("way", ["parts", "layers"])
def test_changed_models_are_offloaded_too(saved, way):
    folder, control = saved("stable_diffusion")[1], saved("controlled")[1] / "controlnet"
    whole, model = perrin.load(folder), perrin.load(folder, offload=way)
    told = {"control": picture(), "control_scale": 2.0}
    drawn(model)
    made = model.with_control(control).seamless()
    watch = Watch(made)
    assert drawn(made, **told).equal(drawn(whole.with_control(control).seamless(), **told))
    assert {len(parts) for parts in watch.seen} == {1}
    assert watch.all_home()
    assert drawn(model.tiled(16)).equal(drawn(whole.tiled(16)))
    assert drawn(model).equal(drawn(whole))  # which stays as it was
    ours, first = made.denoiser.net.net.conv_in.weight, model.denoiser.net.net.conv_in.weight
    assert ours.data_ptr() == first.data_ptr()  # weights are still held once


def test_weights_go_home_when_something_goes_wrong(saved, monkeypatch):
    model = perrin.load(saved("stable_diffusion")[1], offload="parts")
    watch = Watch(model)
    block = model.denoiser.net.net.mid_block

    def fails(*told, **named):
        raise ArithmeticError("of the network")

    with monkeypatch.context() as patch:
        patch.setattr(block, "forward", fails)
        with pytest.raises(ArithmeticError):
            drawn(model)
        assert watch.all_home()
    assert drawn(model).equal(drawn(perrin.load(saved("stable_diffusion")[1])))
    own, come = torch.Tensor.to, []

    def some(tensor, *told, copy=False, **named):
        come.extend([tensor] if copy else [])
        return own(tensor, *told, copy=copy, **named) if len(come) < 4 else fails()

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", some)  # part of a part has come
        with pytest.raises(ArithmeticError):
            evaluated(model)
    assert len(come) == 4
    assert watch.all_home()


@pytest.mark.parametrize(
    ("sizes", "free", "expected"),
    [
        ([5 * GB, GB, GB // 4], 24 * GB, "none"),
        ([5 * GB, GB, GB // 4], 10 * GB, "parts"),
        ([5 * GB, GB, GB // 4], 8 * GB, "layers"),
        ([5 * GB, GB], ROOM + 6 * GB, "none"),
        ([5 * GB, GB], ROOM + 6 * GB - 1, "parts"),
        ([5 * GB, GB], ROOM + 5 * GB, "parts"),
        ([5 * GB, GB], ROOM + 5 * GB - 1, "layers"),
    ],
)
def test_what_fits_is_chosen(sizes, free, expected):
    assert fitting(sizes, free) == expected


@pytest.mark.parametrize(("dtype", "limit"), [("bfloat16", 0.06), (torch.float16, 0.006)])
@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_3", "dit"])
def test_half_precision_is_near(saved, name, dtype, limit):
    folder = saved(name)[1]
    model = perrin.load(folder, dtype=dtype)
    kinds = {weight.dtype for part in components(model) for weight in part.parameters()}
    assert len(kinds) == 1
    assert str(kinds.pop()).endswith(str(dtype).removeprefix("torch."))
    apart = float((drawn(model) - drawn(perrin.load(folder))).abs().max())
    assert 0 < apart < limit


def test_what_is_asked_for_is_known(saved, tmp_path):
    folder = saved("stable_diffusion")[1]
    for named, said in (
        ({"dtype": "float15"}, "dtype 'float15' is not known; did you mean 'float16'"),
        ({"dtype": torch.int8}, "dtype 'torch.int8' is not known"),
        ({"offload": "part"}, "offload 'part' is not known; did you mean 'parts'"),
    ):
        with pytest.raises(PerrinError, match=said):
            perrin.load(folder, **named)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(PerrinError, match="are for folders in the layout of diffusers"):
        perrin.load(tmp_path, dtype="bfloat16")


def test_a_line_says_what_was_chosen_and_why(saved):
    folder = saved("stable_diffusion")[1]
    plain = perrin.load(folder)
    assert plain.chosen.startswith("float32 on cpu: bfloat16 rounds")
    assert plain.chosen.endswith("decoding one picture at a time; guidance in one call")
    other = perrin.load(folder, dtype="bfloat16", offload="layers").tiled(16)
    assert other.chosen == (
        "bfloat16 on cpu: as asked; weights visit it block by block (as asked); decoding one picture at a time, in tiles "
        "of 16; guidance in one call"
    )
    assert "block" not in perrin.load(saved("ddpm")[1]).chosen
    assert "guidance" not in perrin.load(saved("ddpm")[1]).chosen


def test_channels_last_changes_the_memory_and_not_the_picture(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    expected = drawn(model)
    assert model.channels_last() is model
    weight = model.denoiser.net.net.mid_block.resnets[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert float((drawn(model) - expected).abs().max()) < 1e-5
    other = perrin.load(saved("stable_diffusion")[1], offload="parts")
    evaluated(other).channels_last()
    assert Watch(other).all_home()
    assert other.denoiser.net.net.mid_block.resnets[0].conv1.weight.stride() == weight.stride()
    assert float((drawn(other) - expected).abs().max()) < 1e-5
    assert "channels last" in model.chosen
    assert "channels last" in model.seamless().chosen
    assert "channels last" not in perrin.load(saved("stable_diffusion")[1]).chosen


def short(*told, **named):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def refused(model, **told):
    with pytest.raises(PerrinError) as caught:
        drawn(model, **told)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_memory_for_not_even_one_sample_says_what_to_lower(saved, monkeypatch):
    model = perrin.load(saved("stable_diffusion")[1])
    monkeypatch.setattr(model.denoiser.net.net.mid_block, "forward", short)
    assert refused(model, height=64, width=32) == (
        "there is not enough memory for one sample; lower it by --height 48 --width 24 (now 64 x 32), "
        "--dtype bfloat16 (now float32)"
    )
    assert "--height" not in refused(model, image=picture(64))  # whose size it has
    light = perrin.load(saved("stable_diffusion")[1], dtype="bfloat16", offload="parts")
    monkeypatch.setattr(light.denoiser.net.net.mid_block, "forward", short)
    assert refused(light).endswith("--height 12 --width 12 (now 16 x 16), --offload layers (now parts)")
    least = perrin.load(saved("stable_diffusion")[1], dtype="bfloat16", offload="layers")
    monkeypatch.setattr(least.denoiser.net.net.mid_block, "forward", short)
    assert refused(least, height=4, width=4).endswith("for one sample, and nothing of it can be lowered")


def test_fewer_samples_at_a_time_are_tried_first(saved, monkeypatch):
    model = perrin.load(saved("stable_diffusion")[1])
    expected, block = drawn(model), model.denoiser.net.net.mid_block
    own, sizes = block.forward, []

    def some(x, *told, **named):
        sizes.append(len(x))
        return short() if len(x) > 2 else own(x, *told, **named)

    monkeypatch.setattr(block, "forward", some)
    assert float((drawn(model) - expected).abs().max()) < 1e-5
    assert sizes[:2] == [4, 2]  # both branches of two, then of one


def test_memory_for_the_autoencoder_and_the_texts(saved, monkeypatch):
    model = perrin.load(saved("stable_diffusion")[1], offload="layers")
    monkeypatch.setattr(model.codec.vae.decoder, "forward", short)
    assert refused(model, height=32, width=32) == (
        "there is not enough memory to decode a picture; lower it by --tiles 16, --height 24 --width 24 (now 32 x 32), "
        "--dtype bfloat16 (now float32)"
    )
    assert "--tiles 8 (now 16)" in refused(model_of(model, short), height=32, width=32)
    monkeypatch.setattr(model.codec.vae.encoder, "forward", short)
    assert "to encode a picture; lower it by --tiles" in refused(model, image=picture(32))
    monkeypatch.setattr(model.codec.text.encoder, "forward", short)
    assert refused(model) == (
        "there is not enough memory for the text encoders; lower it by fewer prompts at a time (3 now, negative ones "
        "included), --dtype bfloat16 (now float32)"
    )


def model_of(model, forward):
    """The model in tiles of 16, whose decoder is as good as the first one's."""
    made = model.tiled(16)
    made.codec.vae.decoder.forward = forward
    return made


def test_other_errors_stay_what_they_are(saved, monkeypatch):
    model = perrin.load(saved("stable_diffusion")[1])

    def fails(*told, **named):
        raise RuntimeError("expected scalar type Half")

    for part in (model.denoiser.net.net.mid_block, model.codec.vae.decoder, model.codec.text.encoder):
        with monkeypatch.context() as patch:
            patch.setattr(part, "forward", fails)
            with pytest.raises(RuntimeError, match="expected scalar type Half"):
                drawn(model)


def test_the_command_ends_with_one_line(saved, monkeypatch, tmp_path, capsys):
    from diffusers import AutoencoderKL

    monkeypatch.setattr(AutoencoderKL, "decode", short)
    told = ["sample", str(saved("stable_diffusion")[1]), "-n", "1", "--prompt", "a", "--steps", "2"]
    assert main([*told, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert "not enough memory to decode a picture; lower it by" in capsys.readouterr().err.splitlines()[-1]


def test_samples_say_in_which_precision_they_were_drawn(saved, tmp_path, capsys):
    model = perrin.load(saved("stable_diffusion")[1], dtype="bfloat16")
    file = model.sample(1, prompt="a", steps=2).save(tmp_path / "out")[0]
    assert main(["repro", str(file), "--json"]) == 0
    assert '"identical": true' in capsys.readouterr().out
    plain = perrin.load(saved("stable_diffusion")[1]).sample(1, prompt="a", steps=2)
    assert (plain.provenance[0]["dtype"], model.about["dtype"]) == ("float32", "bfloat16")
