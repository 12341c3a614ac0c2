"""The training loop: short, exact to resume, the same for one process or many.

Everything random is a function of (seed, step, index of the item in the global batch), so 2N steps equal N steps,
a kill, and N more, bit for bit. The engine is PyTorch's own (AdamW, autocast, compile, DDP).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from perrin.denoise.adapter import Adapter
from perrin.errors import PerrinError
from perrin.heap import kept_memory
from perrin.learn.consistency_loss import Consistency
from perrin.learn.denoising import Denoising, Losses
from perrin.learn.learned_weight import companion
from perrin.model import Model
from perrin.nets.foreign_attention import QuickAttention
from perrin.saving import load_weights
from perrin.training import checkpoint
from perrin.training.averaging import choose, snapshot
from perrin.training.batches import Batches, Portion, mapped, uploaded
from perrin.training.distributed import Group
from perrin.training.ema import PowerEMA
from perrin.training.interruption import interruptible
from perrin.training.log import Log
from perrin.training.pace import Pace
from perrin.training.precision import choose_precision
from perrin.training.setup import Progress, Setup
from perrin.training.sharding import placed, shard, whole
from perrin.training.validation import Validation
from perrin.training.watch import Taken, Watch


class Trainer:
    """One run of training in a folder.

    Args:
        setup: what to train; folder: where; group: this process among others.
        progress: called after every step.
    """

    def __init__(self, setup: Setup, folder: Path, group: Group, progress: Progress | None = None) -> None:
        self.setup, self.folder, self.group, self.progress = setup, folder, group, progress
        self.options = setup.recipe.training
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        torch.manual_seed(self.options.seed)
        self.denoiser = setup.design.module().to(group.device)  # or the classifier, where that is the task
        if setup.start is not None:
            self.denoiser.net.load_state_dict(setup.start)
        self.sharded = self.options.sharding == "fsdp" and group.world > 1
        if self.sharded:
            shard(self.denoiser.net, group.device)  # first: the optimiser's moments are shared out likewise
        self.parameters = list(self.denoiser.parameters())
        self.learned = companion(setup.objective)
        if self.learned is not None:
            self.learned.to(group.device).reset_parameters()
        self.optimiser = torch.optim.AdamW(
            self._groups(),
            lr=self.options.lr,
            betas=self.options.betas,
            weight_decay=self.options.weight_decay,
            fused=not self.sharded,  # one pass over weights and moments; a quarter of the time
        )
        teacher = getattr(setup.objective, "teacher", None)
        if isinstance(teacher, nn.Module):
            teacher.to(group.device)
        tensors = self.weights()
        # where nothing but parameters is kept, these stay the same tensors, and a walk through the modules is saved
        self.fixed = tensors if tensors.keys() == dict(self.denoiser.net.named_parameters()).keys() else None
        self.ema = PowerEMA(tensors, self.options.ema)
        self.module = self._module()
        self.precision = choose_precision(self.options.precision, group.device)
        self.batches = Batches(
            setup.data.train,
            setup.reader or setup.codec,
            self.options.batch,
            self.options.seed,
            group.rank,
            group.world,
            self.options.workers,
        )
        held = setup.data.validation
        self.validation = Validation(held, setup, self.options.seed) if held is not None else None
        self.log = Log(folder / "log.jsonl")
        self.pace = Pace(self.options, group, setup.spent)
        self.watch = Watch(lambda index: str(setup.data.train[index]["name"]), self.options.lr)
        self.quick: QuickAttention | None = QuickAttention()
        # an accelerator works on while the host looks at the step before; sharded steps cannot be withheld
        self.lags = torch.device(group.device).type != "cpu" and not self.sharded
        self.taken: Taken | None = None

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.pace.step

    def weights(self) -> dict[str, Tensor]:
        """The network's own tensors, by name."""
        return self.denoiser.net.state_dict()

    def companions(self) -> list[nn.Parameter]:
        """What is trained beside the network and thrown away: the parameters of a learned weight."""
        return [] if self.learned is None else list(self.learned.parameters())

    def _groups(self) -> list[dict[str, Any]]:
        network: dict[str, Any] = {"params": self.parameters}
        companions = self.companions()
        return [network, {"params": companions, "weight_decay": 0.0}] if companions else [network]

    def state(self) -> dict[str, Tensor]:
        """All that is trained, by name: the network, and a learned weight beside it."""
        beside = {} if self.learned is None else self.learned.state_dict(prefix="learned-weight.")
        return {**self.weights(), **beside}

    def _module(self) -> nn.Module:
        module: nn.Module = self.denoiser
        if self.options.compile:
            module = torch.compile(module)  # type: ignore[assignment]
        if self.group.world > 1 and not self.sharded:
            ids = [torch.device(self.group.device).index] if self.group.device.startswith("cuda") else None
            module = DistributedDataParallel(module, device_ids=ids)
        return module

    def resume(self) -> None:
        """Continue from the newest state of the folder."""
        state = checkpoint.newest(self.folder)
        if state is None:
            raise PerrinError(f"{self.folder} holds no training state to resume from")
        facts = checkpoint.load(state, self.state(), self.optimiser, self.ema)
        self.pace.step, self.pace.spent = int(facts["step"]), float(facts["cpu_seconds"])
        self.pace.elapsed = float(facts.get("seconds", 0.0))
        self.precision = facts["precision"]  # "auto" may mean another one on this machine
        self.watch.restore(facts)
        if self.group.first:
            self.log.rewind(self.step)

    @torch.no_grad()
    def begin_with(self, path: Path) -> None:
        """Start from the weights of a file, and the averages with them."""
        plain = self.setup.design.module()
        load_weights(plain.net, path)
        for name, value in plain.net.state_dict().items():
            mine = self.weights()[name]
            mine.copy_(placed(value, mine))
        self.ema = PowerEMA(self.weights(), self.options.ema)

    def run(self) -> Model:
        """Train to the end and return the model with the average that validates best."""
        try:
            with interruptible() as interrupted, kept_memory():
                self._loop(interrupted)
        finally:
            self.batches.close()
        return self._finish()

    def _loop(self, interrupted: Callable[[], bool]) -> None:
        if self.options.compile:
            self._compile()
        self.pace.start()
        while not self.pace.finished():
            self.turn()
            if self.group.any(interrupted()):
                self.save()
                raise KeyboardInterrupt(
                    f"stopped after step {self.step}; saved. To go on: perrin train --resume {self.folder}"
                )

    def turn(self) -> None:
        """One step, and what is due after it: the log, validation, pictures, a saved state."""
        self.advance()
        self.pace.read()
        last = self.pace.finished()
        self._report(last)
        if self.pace.due(self.options.save_every, 8) and not last:
            self.save()

    def _compile(self) -> None:
        """Gradients of the next step, thrown away: a budget is for training, and compiling takes a minute of it."""
        try:
            self._backward(self.batches(self.step))
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise PerrinError(
                f"training.compile: {str(error).splitlines()[0]}; install what is missing, on a CPU a C++ compiler "
                "such as g++, or train without: --set training.compile=false"
            ) from error
        self.optimiser.zero_grad(set_to_none=True)

    def advance(self) -> None:
        """One step; where it `lags`, what is watched of it is looked at in the next one."""
        portion = self.batches(self.step)
        rate = self.pace.rate()
        for settings in self.optimiser.param_groups:
            settings["lr"] = rate
        if not self.denoiser.training:
            self.denoiser.train()
        losses = self._backward(portion)
        if self.quick is not None and not (self.quick.used or self.options.compile):
            self.quick = None  # this network has no use for it
        for parameter in self.companions():  # which DDP does not see
            assert parameter.grad is not None
            parameter.grad = self.group.mean(parameter.grad)
        norm = self._clipped()
        loss = self.group.mean(losses.value.mean())
        self.settle()
        self.taken = Taken(self.step + 1, portion.indices, losses.value, loss, norm, rate)
        if self.lags:
            # no step is taken where this is 1, so that what is found a step late has ruined nothing
            self.optimiser.found_inf = (~(loss.isfinite() & norm.isfinite())).float()  # type: ignore[attr-defined]
        else:
            self.settle()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.pace.step += 1
        self.ema.update(self.weights() if self.fixed is None else self.fixed, self.step)

    def _clipped(self) -> Tensor:
        """The norm of the network's gradients, which the optimiser's next step takes as no longer than `clip`."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.options.clip and self.sharded:
            nn.utils.clip_grads_with_norm_(self.parameters, self.options.clip, norm)
        elif self.options.clip:
            # the fused step divides by it on its way through the gradients, which saves a pass over them
            scale = ((norm + 1e-6) / self.options.clip).clamp(min=1)
            self.optimiser.grad_scale = scale  # type: ignore[attr-defined]
            for parameter in self.companions():  # they are not clipped
                assert parameter.grad is not None
                parameter.grad *= scale
        return whole(norm)

    def settle(self) -> None:
        """Look at the newest step, once."""
        taken, self.taken = self.taken, None
        if taken is not None:
            self.watch.look(taken)

    def _backward(self, portion: Portion) -> Losses:
        """Gradients of the mean loss of the batch, in `accumulate` parts."""
        count = len(portion.seeds)
        parts = torch.arange(count).chunk(self.options.accumulate)
        values = []
        for index, rows in enumerate(parts):
            losses = self.losses(portion, slice(int(rows[0]), int(rows[-1]) + 1))
            weight = len(rows) / count
            ddp = isinstance(self.module, DistributedDataParallel)
            if ddp and index < len(parts) - 1:
                with self.module.no_sync():  # type: ignore[operator]
                    (losses.mean() * weight).backward()
            else:
                (losses.mean() * weight).backward()
            values.append(Losses(self._shown(losses), losses.level, losses.error.detach()))
        return Losses(*(torch.cat([getattr(v, n) for v in values]) for n in ("value", "level", "error")))

    def _shown(self, losses: Losses) -> Tensor:
        """Losses [B] to log and to watch: under a learned weight, which may go below zero, those of its base."""
        if self.learned is None:
            return losses.value.detach()
        return (self.learned.base(losses.level).to(losses.error) * losses.error).detach()

    def losses(self, portion: Portion, rows: slice) -> Losses:
        """Losses of some rows of a portion, in the precision of training."""
        device = self.group.device
        state, condition, masks = mapped(portion.batch, lambda v: uploaded(v[rows], device))
        seeds, u = uploaded(portion.seeds[rows], device), uploaded(portion.u[rows], device)
        half = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with half, self.quick or nullcontext():
            objective = self.setup.objective
            if isinstance(objective, Consistency):
                objective = objective.at(self.pace.done())
            if masks is not None and isinstance(objective, Denoising):
                return objective(self.module, state, condition, seeds, u, masks)
            return objective(self.module, state, condition, seeds, u)

    def _report(self, last: bool) -> None:
        due = self.pace.due(None, 200) or last
        if due:
            self.settle()  # in every process, as each has watched the same figures
        judged = self.validation is not None and (self.pace.due(self.options.validate_every, 10) or last)
        kept = self.pace.due(None, self.options.snapshots) or last
        drawn = self.options.sample_every and (self.step % self.options.sample_every == 0 or last)
        ema = self.ema.whole() if judged or kept or drawn else self.ema  # by all processes
        if not self.group.first:
            return
        if due:
            self.log.write(**self.watch.line, smooth=self.watch.smooth, cpu_seconds=round(self.pace.spent, 3))
        if judged and self.validation is not None:
            value = self.validation.of(self.apart(), ema.averages[self.options.ema[0]])
            self.log.write(step=self.step, validation=value)
        if kept:
            snapshot(self.folder, ema, self.step)
        if drawn:
            self._picture(ema)
        if self.progress is not None:
            self.progress(self.step, self.options.steps, f"loss {self.watch.smooth:.4f}")

    def apart(self) -> Adapter:
        """A denoiser whose weights can be replaced by whole ones: the one in training, or a copy of a sharded one."""
        return self.setup.design.module().to(self.group.device) if self.sharded else self.denoiser

    def _picture(self, ema: PowerEMA) -> None:
        """Samples of fixed seeds, to watch the model learn."""
        samples = self.model(ema.averages[self.options.ema[0]]).sample(min(36, self.options.batch), seed=0)
        if samples.picture() is not None:
            samples.save(self.folder / "samples" / f"step-{self.step:08d}.png")

    def save(self) -> None:
        """Write the training state, and the model as it stands."""
        self.settle()
        state, optimiser, ema = whole(self.state()), whole(self.optimiser.state_dict()), self.ema.whole()
        if self.group.first:
            facts = {
                "cpu_seconds": self.pace.spent,
                "seconds": self.pace.elapsed,
                **self.watch.facts(),
                "torch": torch.__version__,
                "precision": self.precision,
            }
            checkpoint.save(self.folder, self.step, state, optimiser, ema, facts)
            self.model(ema.averages[self.options.ema[0]]).save(self.folder)
        self.group.wait()

    def model(self, weights: dict[str, Tensor]) -> Model:
        """A model with some weights, apart from the one in training."""
        module = self.setup.design.module().to(self.group.device)
        module.net.load_state_dict(weights)
        about = {"name": self.setup.recipe.name, "step": self.step, **self.setup.about}
        return Model(self.setup.design, module, self.setup.codec, self.setup.sampling, self.folder, about)

    def _finish(self) -> Model:
        self.save()
        ema = self.ema.whole()
        if not self.group.first:
            return self.model(ema.averages[self.options.ema[0]])
        weights, chosen = choose(self.folder, ema, self.step, self.apart(), self.validation)
        model = self.model(weights)
        model.about |= {"ema": chosen["std"], "train_cpu_seconds": round(self.pace.spent, 2)}
        model.save(self.folder)
        self.log.write(step=self.step, chosen=chosen, cpu_seconds=round(self.pace.spent, 3))
        return model
