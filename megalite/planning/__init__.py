"""Plans a run before it starts: FLOPs, bytes in memory and on the wire, and days.

In: a ``RunConfig`` and the shape of the mesh. Out: a ``TrainingPlan``. All figures come from the list of layers, built and
run on torch's meta device. Read ``pipeline_stages`` and ``memory``; ``counting_mesh``, ``layer_wires`` and
``communication``; ``compute``; then ``training_plan``, which puts them together, and ``plan_table``, which prints it
(``pretrain.py --check``). ``readiness`` checks whether the run could start here.
"""
