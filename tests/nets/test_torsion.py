"""The torsion network: what it may depend on, and what changes its sign."""

import math

import pytest
import torch

from perrin.errors import PerrinError
from perrin.nets.torsion import HOPS, TorsionNet, hops
from perrin.nets.turning import dihedrals, turned

SIZES = {"width": 16, "pairs": 12, "bonded": 2, "blocks": 2, "radial": 8, "channels": 3}


def molecule(parents, seed, atoms=None, torsions=None):
    """A tree of atoms with random places about a bond length from their parents, padded: the condition of one item."""
    made = torch.Generator().manual_seed(seed)
    count = len(parents) + 1
    positions = torch.zeros(count, 3, dtype=torch.float64)
    for atom, parent in enumerate(parents, 1):
        step = torch.randn(3, generator=made, dtype=torch.float64)
        positions[atom] = positions[parent] + 1.5 * step / step.norm()
    bonds = torch.zeros(count, count, dtype=torch.int64)
    for atom, parent in enumerate(parents, 1):
        bonds[atom, parent] = bonds[parent, atom] = 1 + atom % 4
    quadruples, moves = [], []
    for k, j in enumerate(parents, 1):
        beside, beyond = (
            [a for a in range(count) if bonds[end, a] and a != other] for end, other in ((j, k), (k, j))
        )
        if beside and beyond:
            quadruples.append([beside[0], j, k, beyond[0]])
            side = {k}
            for atom, parent in enumerate(parents, 1):
                side |= {atom} if parent in side and atom != k else set()
            moves.append([a in side for a in range(count)])
    n, m = atoms or count, torsions or len(quadruples)
    told = {
        "atoms": torch.zeros(1, n, dtype=torch.int64),
        "features": torch.zeros(1, n, 14, dtype=torch.float64),
        "bonds": torch.zeros(1, n, n, dtype=torch.int64),
        "positions": torch.zeros(1, n, 3, dtype=torch.float64),
        "quadruples": torch.full((1, m, 4), -1),
        "moves": torch.zeros(1, m, n, dtype=torch.bool),
    }
    told["atoms"][0, :count] = torch.randint(6, 10, (count,), generator=made)
    told["features"][0, :count] = torch.randn(count, 14, generator=made, dtype=torch.float64)
    told["bonds"][0, :count, :count] = bonds
    told["positions"][0, :count] = positions
    told["quadruples"][0, : len(quadruples)] = torch.tensor(quadruples).reshape(-1, 4)
    told["moves"][0, : len(quadruples), :count] = torch.tensor(moves).reshape(-1, count)
    return told


BRANCHED = [0, 1, 2, 2, 3, 5, 5, 7, 1]  # a tree of 10 atoms, five of its bonds turning
LONG = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = TorsionNet({"torsions": (5,)}, **SIZES).double()
    for parameter in made.parameters():  # the network starts at zero
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def angles(count, seed=1):
    made = torch.Generator().manual_seed(seed)
    return math.pi * (2 * torch.rand(1, count, generator=made, dtype=torch.float64) - 1)


def rotation(seed=2):
    made = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=made, dtype=torch.float64))
    return q * torch.linalg.det(q)


TIME = torch.tensor([0.3], dtype=torch.float64)


def size(told):
    return int((told["quadruples"][:, :, 0] >= 0).sum())


@pytest.mark.parametrize(
    ("end", "angle"), [((1, 1, 0), 0.0), ((1, -1, 0), math.pi), ((1, 0, 1), 0.5), ((1, 0, -1), -0.5)]
)
def test_the_dihedral_angle_is_that_of_iupac(end, angle):
    """Looking along +x from j to k, i stands up (y); a last atom on the right hand, at +z, is clockwise."""
    points = torch.tensor([[[0, 1, 0], [0, 0, 0], [1, 0, 0], end]], dtype=torch.float64)
    wanted = angle * math.pi if abs(angle) == 0.5 else angle
    found = dihedrals(points, torch.arange(4).reshape(1, 1, 4))
    assert found.item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("parents", "kind"), [(BRANCHED, torch.float64), (LONG, torch.float32)])
def test_torsions_that_are_set_are_read_back(parents, kind):
    told = molecule(parents, 0)
    torsions = angles(size(told))
    made = turned(told["positions"].to(kind), torsions.to(kind), told["quadruples"], told["moves"])
    away = dihedrals(made, told["quadruples"]) - torsions
    assert (torch.remainder(away + math.pi, 2 * math.pi) - math.pi).abs().max() < 1e-5


def test_setting_torsions_leaves_lengths_and_angles():
    told = molecule(BRANCHED, 0)
    made = turned(told["positions"], angles(size(told)), told["quadruples"], told["moves"])
    near = hops(told["bonds"])[0] <= 2  # lengths, and the distances across angles
    before, after = (torch.cdist(x, x)[0] for x in (told["positions"], made))
    assert (before - after)[near].abs().max() < 1e-10
    assert (before - after)[~near].abs().max() > 0.1


def test_hops_count_bonds():
    found = hops(molecule(LONG, 0)["bonds"])[0]
    places = torch.arange(len(LONG) + 1)
    assert torch.equal(found, (places[:, None] - places).abs().clamp(max=HOPS))


def test_a_mirror_turns_the_sign(net):
    told = molecule(BRANCHED, 0)
    torsions = angles(size(told))
    image = {**told, "positions": told["positions"] * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)}
    out, mirrored = net(torsions, TIME, told), net(-torsions, TIME, image)
    assert out.abs().min() > 1e-3
    assert (out + mirrored).abs().max() < 1e-9
    assert (
        net(-torsions, TIME, told) + out
    ).abs().max() > 1e-3  # these atoms are chiral, so angles alone do not


def test_rigid_motions_and_the_references_own_torsions_change_nothing(net):
    told = molecule(BRANCHED, 0)
    torsions = angles(size(told))
    out = net(torsions, TIME, told)
    moved = {**told, "positions": told["positions"] @ rotation().T + 7.0}
    other = turned(told["positions"], angles(size(told), 5), told["quadruples"], told["moves"])
    assert (net(torsions, TIME, moved) - out).abs().max() < 1e-9
    assert (net(torsions, TIME, {**told, "positions": other}) - out).abs().max() < 1e-9


def test_it_does_not_matter_which_side_of_a_bond_is_said_to_turn(net):
    told = molecule(BRANCHED, 0)
    torsions = angles(size(told))
    other = {**told, "quadruples": told["quadruples"].flip(2), "moves": ~told["moves"]}
    assert (net(torsions, TIME, other) - net(torsions, TIME, told)).abs().max() < 1e-8


def test_the_order_of_atoms_and_torsions_changes_nothing(net):
    told = molecule(BRANCHED, 0)
    torsions, out = angles(size(told)), net(angles(size(told)), TIME, told)
    atoms, bonds = torch.randperm(10), torch.randperm(size(told))
    place = torch.argsort(atoms)
    other = {
        "atoms": told["atoms"][:, atoms],
        "features": told["features"][:, atoms],
        "bonds": told["bonds"][:, atoms][:, :, atoms],
        "positions": told["positions"][:, atoms],
        "quadruples": place[told["quadruples"][:, bonds]],
        "moves": told["moves"][:, bonds][:, :, atoms],
    }
    assert (net(torsions[:, bonds], TIME, other) - out[:, bonds]).abs().max() < 1e-9


def test_alone_is_in_a_padded_batch(net):
    parents = (BRANCHED, LONG)
    alone = [molecule(p, seed) for seed, p in enumerate(parents)]
    padded = [molecule(p, seed, atoms=14, torsions=11) for seed, p in enumerate(parents)]
    batch = {name: torch.cat([one[name] for one in padded]) for name in padded[0]}
    torsions = torch.zeros(2, 11, dtype=torch.float64)
    for row, one in enumerate(alone):
        torsions[row, : size(one)] = angles(size(one), row)
    out = net({"torsions": torsions}, TIME.expand(2), batch)["torsions"]
    for row, one in enumerate(alone):
        count = size(one)
        assert (out[row, :count] - net(torsions[row : row + 1, :count], TIME, one)[0]).abs().max() < 1e-10
        assert (out[row, count:] == 0).all()


def test_a_torsion_feels_atoms_that_a_far_torsion_moves(net):
    """Only distances in the built structure say so: the two bonds share no atoms."""
    told = molecule(LONG, 1)
    torsions = angles(size(told))
    torsions.requires_grad_()
    first = net(torsions, TIME, told)[0, 0]
    (slope,) = torch.autograd.grad(first, torsions)
    assert slope[0, 5:].abs().min() > 1e-6


def test_it_starts_at_zero_and_every_weight_learns(net):
    fresh = TorsionNet({"torsions": (5,)}, **SIZES).double()
    told = molecule(BRANCHED, 0)
    assert (fresh(angles(size(told)), TIME, told) == 0).all()
    net(angles(size(told)), TIME, told).square().sum().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not still


def test_it_carries_forward_derivatives(net):
    told = molecule(BRANCHED, 0)
    torsions = angles(size(told))
    along = torch.ones_like(torsions)
    _, found = torch.func.jvp(lambda t: net(t, TIME, told), (torsions,), (along,))
    near = (net(torsions + 1e-6, TIME, told) - net(torsions - 1e-6, TIME, told)) / 2e-6
    assert (found - near).abs().max() < 1e-5


def test_a_molecule_without_torsions_is_taken(net):
    told = molecule([0, 1], 0, torsions=1)
    assert (net(torch.zeros(1, 1, dtype=torch.float64), TIME, told) == 0).all()


def test_half_precision_around_it_changes_nothing():
    torch.manual_seed(0)
    net = TorsionNet({"torsions": (5,)}, **SIZES)
    net.coefficients.weight.data.normal_()
    told = {n: v.float() if v.is_floating_point() else v for n, v in molecule(BRANCHED, 0).items()}
    torsions = angles(size(told)).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = net(torsions, TIME.float(), told)
    assert torch.equal(half, net(torsions, TIME.float(), told))


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ({"positions": (5, 3)}, {}, "torsions"),
        ({"torsions": (5,)}, {"classes": 3}, "classes"),
        ({"torsions": (5,)}, {"width": 0}, "at least 1"),
    ],
)
def test_what_it_refuses(shape, options, says):
    with pytest.raises(PerrinError, match=says):
        TorsionNet(shape, **options)


def test_no_molecule_is_refused(net):
    with pytest.raises(PerrinError, match="no molecule"):
        net(angles(5), TIME)
