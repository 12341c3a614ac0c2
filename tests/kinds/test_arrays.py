"""Arrays of any shape: read and refused, standardised and restored, saved and read again."""

import gzip
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.arrays import ArrayCodec, Arrays, read_provenance
from perrin.kinds.selection import Selection


def open_text(tmp_path, text, **options):
    path = tmp_path / "a.csv"
    path.write_text(text)
    return Arrays.open(path, **options)


def saved(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    return Arrays.open(tmp_path / "a.npy")


class Held:
    """A source of arrays in memory."""

    labels = classes = None

    def __init__(self, values):
        self.values = values

    def read(self, index):
        return self.values[index]

    def name(self, index):
        return f"row {index}"

    def __len__(self):
        return len(self.values)


def in_memory(values):
    return Selection(Held(values), np.arange(len(values)), {}, [])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(3, 5, shape)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (24,), (3, 8), (1, 6, 5), (2, 3, 4, 5)])
def test_items_of_any_shape_are_standardised_and_restored(tmp_path, shape):
    values = normal(300, *shape)
    dataset = saved(tmp_path, values)
    codec = Arrays.codec.fit(dataset)
    state = codec.encode(list(dataset)).state
    assert state.shape[1:] == codec.shape == (shape or (1,))
    assert state.dtype == torch.float32
    assert state.mean().item() == pytest.approx(0, abs=1e-5)
    assert state.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert codec.sigma_data == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(
        np.stack(codec.decode(state)).reshape(values.shape), values, rtol=1e-5, atol=1e-5
    )


def test_each_feature_of_a_vector_has_its_own_scale(tmp_path):
    values = normal(500, 2) * [1, 1000]
    dataset = saved(tmp_path, values)
    codec = Arrays.codec.fit(dataset)
    np.testing.assert_allclose(codec.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(codec.std, values.std(0), rtol=1e-12)
    together = Arrays.codec.fit(dataset, standardise="global")
    np.testing.assert_allclose((together.mean, together.std), ([values.mean()], [values.std()]), rtol=1e-12)
    untouched = Arrays.codec.fit(dataset, standardise="none")
    assert (untouched.mean, untouched.std) == ([0.0], [1.0])
    assert untouched.sigma_data == pytest.approx(values.std(), rel=1e-6)
    with pytest.raises(PerrinError, match="did you mean 'feature'"):
        Arrays.codec.fit(dataset, standardise="features")


def test_the_deviation_of_large_numbers_does_not_cancel(tmp_path):
    values = 1e9 + normal(3000, 1)
    assert Arrays.codec.fit(saved(tmp_path, values)).std[0] == pytest.approx(values.std(), rel=1e-9)


def test_a_constant_feature_becomes_zero_and_comes_back_as_the_constant(tmp_path):
    values = np.column_stack([normal(50), np.full(50, 7.1), np.zeros(50)])
    dataset = saved(tmp_path, values)
    codec = Arrays.codec.fit(dataset)
    state = codec.encode(list(dataset)).state
    assert (state[:, 1:] == 0).all()
    decoded = np.stack(codec.decode(state + 0.1 * torch.randn(50, 3)))  # as imprecise as a model
    np.testing.assert_allclose(decoded[:, 1:], values[:, 1:], atol=1e-5)
    assert math.isfinite(codec.log_det())


@pytest.mark.parametrize("standardise", ["feature", "global", "none"])
def test_whole_numbers_have_a_lattice_in_every_scaling(tmp_path, standardise):
    values = np.random.default_rng(0).integers([-3, 0, 1000], [5, 2, 1800], (300, 3))
    for kind in (np.int64, np.float32):  # the values count, not the type: a CSV holds floats
        dataset = saved(tmp_path, values.astype(kind))
        codec = Arrays.codec.fit(dataset, standardise=standardise)
        lattice = codec.lattice
        k = (codec.encode(list(dataset)).state.double() - lattice.low) / lattice.step
        assert (k - k.round()).abs().max() < 1e-3
        assert torch.equal((k.round() * 1.0).amin(0).min(), torch.zeros((), dtype=torch.float64))
        count = torch.as_tensor(lattice.count).expand(3)
        spans = values.max(0) - values.min(0) + 1
        expected = spans if standardise == "feature" else [values.max() - values.min() + 1] * 3
        assert count.tolist() == list(expected)
        back = codec.decode((lattice.low + lattice.step * k.round()).expand(300, 3))
        np.testing.assert_allclose(np.stack(back), values, atol=1e-9)
        # the volume of a bin is the volume that one unit of the data takes
        assert float(lattice.step.log().expand(3).sum()) == pytest.approx(
            codec.log_det(), rel=1e-12, abs=1e-12
        )
        assert ArrayCodec.from_config(json.loads(json.dumps(codec.config()))) == codec


def test_other_numbers_have_none(tmp_path):
    values = np.arange(3000.0)[:, None]
    assert Arrays.codec.fit(saved(tmp_path, values)).lattice is not None
    values[2500] += 0.5  # beyond the first block
    assert Arrays.codec.fit(saved(tmp_path, values)).lattice is None


def test_a_config_from_before_lattices_still_loads():
    codec = ArrayCodec((2,), None, 1.0, [0.0, 1.0], [1.0, 2.0])
    config = codec.config()
    assert config.pop("whole") is None
    assert ArrayCodec.from_config(config) == codec
    assert codec.lattice is None


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(1, 4)), elements=finite), st.booleans()
)
def test_the_inverse_and_the_config_are_exact(values, together):
    dataset = in_memory(values)
    codec = ArrayCodec.fit(dataset, standardise="global" if together else "feature")
    restored = ArrayCodec.from_config(json.loads(json.dumps(codec.config())))
    assert restored == codec
    batch = codec.encode(list(dataset))
    assert torch.equal(restored.encode(list(dataset)).state, batch.state)
    # the state is float32: a value is restored to 2^-24 of its distance from the mean
    tolerance = 2.0**-23 * np.abs(values - np.array(codec.mean)) + 1e-15 * np.abs(values)
    assert (np.abs(np.stack(codec.decode(batch.state)) - values) <= tolerance + 1e-30).all()


@pytest.mark.parametrize("standardise", ["feature", "global", "none"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_log_det_is_that_of_the_jacobian(tmp_path, standardise, shape):
    codec = Arrays.codec.fit(saved(tmp_path, normal(40, *shape)), standardise=standardise)
    size = math.prod(shape)
    point = torch.zeros(shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(codec.normalise, point).reshape(size, size)
    expected = torch.linalg.slogdet(jacobian).logabsdet.item()
    assert codec.log_det() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_density_in_the_users_units_integrates_to_one(tmp_path):
    codec = Arrays.codec.fit(saved(tmp_path, normal(400, 1)))
    grid = torch.linspace(-60, 60, 20_001, dtype=torch.float64)[:, None]
    state = codec.normalise(grid)
    log_density = torch.distributions.Normal(0.0, 1.0).log_prob(state)[:, 0] + codec.log_det()
    assert torch.trapezoid(log_density.exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_decoded_values_have_the_type_of_the_data(tmp_path):
    for given_type, decoded_type in [("float32", "float32"), ("float64", "float64"), ("int16", "float64")]:
        dataset = saved(tmp_path, normal(9, 2).astype(given_type))
        codec = Arrays.codec.fit(dataset)
        assert codec.decode(codec.encode(list(dataset)).state)[0].dtype == decoded_type


def test_a_large_npy_is_mapped_not_loaded(tmp_path):
    assert isinstance(saved(tmp_path, normal(10, 3)).source.values, np.memmap)


def test_npz_keys_and_labels(tmp_path, monkeypatch):
    values = normal(6, 2)
    np.savez(tmp_path / "a.npz", points=values, labels=np.array(["a", "b"] * 3))
    np.savez(tmp_path / "b.npz", points=values, other=values, target=np.arange(6))
    dataset = Arrays.open(tmp_path / "a.npz")
    assert dataset.classes == ["a", "b"]
    assert dataset[3]["label"] == 1
    with pytest.raises(PerrinError, match="points, other, target; write which one as key: NAME"):
        Arrays.open(tmp_path / "b.npz")
    with pytest.raises(PerrinError, match="did you mean 'points'"):
        Arrays.open(tmp_path / "b.npz", key="pionts")
    assert Arrays.open(tmp_path / "b.npz", key="other", label="target")[5]["label"] == 5
    monkeypatch.setattr(files, "MEMORY_LIMIT", 0)
    mapped = Arrays.open(tmp_path / "a.npz")
    assert isinstance(mapped.source.values, np.memmap)
    assert mapped.description == dataset.description


def test_csv_with_and_without_header(tmp_path):
    headed = open_text(tmp_path, "x,y\n1,2\n3,4.5\n")
    assert headed.description["columns"] == ["x", "y"]
    assert headed[1]["value"].tolist() == [3, 4.5]
    assert headed[1]["name"] == "line 3"
    bare = open_text(tmp_path, "\ufeff1,2\n3,4.5\n")
    assert bare.description["columns"] == ["0", "1"]
    assert len(bare) == 2


def test_csv_labels_and_columns(tmp_path):
    text = "date,x,label,y\nmonday,1,b,2\ntuesday,3,a,4\nmonday,5,,6\n"
    dataset = open_text(tmp_path, text, columns=["y", "x"])
    assert dataset[1]["value"].tolist() == [4, 3]
    assert dataset.classes == ["a", "b"]
    assert [item["label"] for item in dataset] == [1, 0, None]
    by_day = open_text(tmp_path, text, columns=["x"], label="date")
    assert by_day.classes == ["monday", "tuesday"]
    with pytest.raises(PerrinError, match=r"column 'date' of .* holds no numbers .* columns: \[x, y\]"):
        open_text(tmp_path, text)
    with pytest.raises(PerrinError, match="did you mean 'date'"):
        open_text(tmp_path, text, label="dates")
    assert open_text(tmp_path, text, columns=["x"], labels=False).classes is None


def test_integer_labels_of_a_csv_are_indices(tmp_path):
    dataset = open_text(tmp_path, "x,label\n1,2\n3,0\n")
    assert dataset.classes == ["0", "1", "2"]
    assert dataset[0]["label"] == 2


def test_a_gzipped_csv_is_the_same_data(tmp_path):
    plain = open_text(tmp_path, "x,y\n1,2\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"x,y\n1,2\n"))
    assert Arrays.open(tmp_path / "b.csv.gz").description["sha256"] == plain.description["sha256"]


def test_bad_cells_are_named_by_line_and_column(tmp_path):
    text = "x,y\n1,2\nnan,3\n4,\n5,inf\n6,seven\n"
    with pytest.raises(PerrinError, match="4 of 5 rows") as error:
        open_text(tmp_path, text)
    for place in ("line 3 column 'x' is nan", "line 4 column 'y' holds ''", "line 5 column 'y' is inf"):
        assert place in str(error.value)
    assert "line 6 column 'y' holds 'seven'" in str(error.value)
    kept = open_text(tmp_path, text, broken="skip")
    assert kept.skipped == ["line 3", "line 4", "line 5", "line 6"]
    assert [item["value"].tolist() for item in kept] == [[1, 2]]


def test_bad_values_of_an_array_are_named_by_row_and_place(tmp_path):
    values = normal(5, 3, 4)
    values[2, 1, 3] = np.nan
    values[4, 0, 0] = -np.inf
    with pytest.raises(PerrinError, match=r"row 2 column \(1, 3\) is nan, row 4 column \(0, 0\) is -inf"):
        saved(tmp_path, values)
    kept = Arrays.open(tmp_path / "a.npy", broken="skip")
    assert [item["name"] for item in kept] == ["row 0", "row 1", "row 3"]
    assert kept.skipped == ["row 2", "row 4"]
    np.save(tmp_path / "a.npy", np.full((2, 2), np.nan))
    with pytest.raises(PerrinError, match="2 of 2 rows"):
        Arrays.open(tmp_path / "a.npy", broken="skip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,y\n", "has no rows"),
        ("x,y\n1,2\n3\n", "line 3 has 1 cells, the first line has 2"),
        ("label\na\n", "no column of values"),
    ],
)
def test_csv_files_without_a_table_are_refused(tmp_path, text, message):
    with pytest.raises(PerrinError, match=message) as error:
        open_text(tmp_path, text)
    assert "\n" not in str(error.value)


def test_files_that_hold_no_numbers_are_refused(tmp_path):
    np.save(tmp_path / "complex.npy", np.ones((2, 2)) * 1j)
    np.save(tmp_path / "object.npy", np.array([[None]]), allow_pickle=True)
    np.save(tmp_path / "empty.npy", np.zeros((0, 2)))
    np.save(tmp_path / "scalar.npy", np.zeros(()))
    np.save(tmp_path / "whole.npy", normal(100, 2))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:700])
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 999)[:20])
    (tmp_path / "latin.csv").write_bytes(b"x\n\xff\n")
    (tmp_path / "a.xlsx").write_bytes(b"")
    for name, message in [
        ("complex.npy", "complex128, not real numbers"),
        ("object.npy", "never loaded"),
        ("empty.npy", "no items"),
        ("scalar.npy", "no items"),
        ("cut.npy", "cannot read"),
        ("cut.csv.gz", "cannot read"),
        ("latin.csv", "cannot read"),
        ("a.xlsx", "not a kind of file with arrays"),
        ("absent.npy", "no file"),
    ]:
        with pytest.raises(PerrinError, match=message) as error:
            Arrays.open(tmp_path / name)
        assert "\n" not in str(error.value)


def test_options_of_another_format_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", normal(3, 2))
    for options in ({"columns": ["x"]}, {"header": True}, {"key": "x"}, {"label": "y"}, {"broken": "fix"}):
        with pytest.raises(PerrinError):
            Arrays.open(tmp_path / "a.npy", **options)


def test_items_that_do_not_fit_the_codec_are_refused_by_name():
    codec = ArrayCodec((2,), None, 1.0, [0.0], [1.0])
    with pytest.raises(PerrinError, match=r"row 0 has shape \(3,\)"):
        codec.encode([{"value": np.zeros(3), "label": None, "name": "row 0"}])
    with pytest.raises(PerrinError, match="row 0 holds NaN"):
        codec.encode([{"value": np.array([0, np.nan]), "label": None, "name": "row 0"}])
    with pytest.raises(PerrinError, match="state 1 holds NaN"):
        codec.decode(torch.tensor([[0.0, 0], [0, torch.inf]]))
    with pytest.raises(PerrinError, match="too large"):
        ArrayCodec.fit(in_memory(np.array([[1e300], [-1e300]])))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.npz"])
def test_what_is_saved_is_read_again_with_labels_and_provenance(tmp_path, name):
    dataset = open_text(tmp_path, "x,y,label\n1,2,cat\n3,0.1,dog\n-1e-300,1e17,cat\n")
    codec = Arrays.codec.fit(dataset)
    values = [item["value"] for item in dataset]
    made = [{"seed": 1, "index": i, "label": item["label"]} for i, item in enumerate(dataset)]
    written = codec.save(values, tmp_path / "out" / name, made)
    assert read_provenance(written[0]) == {"items": made}
    again = Arrays.open(written[0])
    assert [item["value"].tolist() for item in again] == [value.tolist() for value in values]
    assert [again.classes[item["label"]] for item in again] == ["cat", "dog", "cat"]


def test_a_folder_gets_one_npy(tmp_path):
    codec = ArrayCodec((2, 3), None, 1.0, [0.0], [1.0], "float32")
    decoded = codec.decode(torch.randn(4, 2, 3))
    written = codec.save(decoded, tmp_path / "samples", [{}] * 4)
    assert [path.name for path in written] == ["samples.npy", "samples.npy.json"]
    assert np.array_equal(np.load(written[0]), np.stack(decoded))
    with pytest.raises(PerrinError, match="do not fit"):
        codec.save(decoded, tmp_path / "a.csv", [{}] * 4)
    with pytest.raises(PerrinError, match="saved as"):
        codec.save(decoded, tmp_path / "a.txt", [{}] * 4)


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((1,), True),
        ((2,), True),
        ((24,), True),
        ((3, 24), True),
        ((8, 8), True),
        ((3, 8, 8), True),
        ((4, 4, 4), False),
    ],
)
def test_each_shape_has_its_picture(shape, drawn):
    codec = ArrayCodec(shape, None, 1.0, [0.0], [1.0])
    picture = codec.picture(codec.decode(torch.randn(9, *shape)))
    assert (picture is not None) == drawn
    if picture is not None:
        assert len(np.unique(np.asarray(picture))) > 2
    assert codec.picture([]) is None


def test_real_exchange_rates(sample_data):
    dataset = Arrays.open(sample_data("timeseries/exchange_rate.csv.gz"))
    codec = Arrays.codec.fit(dataset)
    assert (len(dataset), codec.shape) == (7588, (8,))
    assert codec.columns[:2] == ["australia", "uk"]
    some = [dataset[i] for i in range(0, 7588, 500)]
    decoded = codec.decode(codec.encode(some).state)
    np.testing.assert_allclose(decoded, [item["value"] for item in some], rtol=1e-6)


def test_a_real_missing_value_is_named(sample_data):
    with pytest.raises(PerrinError, match=r"1 of 816 rows .* line 2 column 'Increase rate' holds ''"):
        Arrays.open(sample_data("timeseries/covid19-worldwide-aggregate.csv.gz"), columns=["Increase rate"])
