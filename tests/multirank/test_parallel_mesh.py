"""The mesh: its groups are DeepSpeed's own. That layouts train the same model is the parity matrix's claim."""

import pytest
import torch

from megalite.config.schema import ParallelSection
from megalite.parallel.mesh import Mesh
from megalite.parity.launch import run_on_ranks

AXES = ("pipe", "data_parallel", "tensor", "context")


def members(sizes: dict[str, int]) -> list[list[int]]:
    mesh = Mesh.create(ParallelSection(**sizes))
    return [torch.distributed.get_process_group_ranks(getattr(mesh, f"{axis}_group")) for axis in AXES]


@pytest.mark.parametrize(
    ("world_size", "t", "p", "c"), [(8, 2, 2, 1), (8, 2, 2, 2), (4, 1, 4, 1), (3, 1, 1, 3), (2, 2, 1, 1)]
)
def test_the_groups_are_those_of_deepspeeds_own_topology(world_size: int, t: int, p: int, c: int) -> None:
    from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

    sizes = {"tensor_parallel_size": t, "pipeline_parallel_size": p, "context_parallel_size": c}
    topology = PipeModelDataParallelTopology(num_pp=p, num_mp=t, num_dp=world_size // (t * p))
    for rank, groups in enumerate(run_on_ranks(members, world_size, sizes)):
        for axis, ranks in zip(("pipe", "data", "model"), groups[:3], strict=True):
            lists = topology.get_axis_comm_lists(axis) or [[each] for each in range(world_size)]
            assert ranks == next(each for each in lists if rank in each), (rank, axis)
        first = rank - rank // t % c * t
        assert groups[3] == list(range(first, first + c * t, t))
