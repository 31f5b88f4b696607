"""The keys that DeepSpeed 0.19 reads. It silently ignores unknown top-level keys, so they are checked here.

A test compares these tables with the installed DeepSpeed.
"""

ZERO = frozenset(
    "allgather_bucket_size allgather_partitions compute_grad_norm contiguous_gradients cpu_offload cpu_offload_param "
    "cpu_offload_use_pin_memory elastic_checkpoint enable_sanity_checks ignore_unused_parameters leaf_module "
    "legacy_stage1 load_from_fp32_weights log_trace_cache_warnings memory_efficient_linear offload_optimizer "
    "offload_param overlap_comm override_module_apply parameter_alignment pipeline_loading_checkpoint "
    "reduce_bucket_size reduce_scatter round_robin_gradients save_muon_momentum_buffer_in_memory stage "
    "stage3_allgather_sequential stage3_gather_16bit_weights_on_model_save stage3_gather_fp16_weights_on_model_save "
    "stage3_max_live_parameters stage3_max_reuse_distance stage3_model_persistence_threshold "
    "stage3_module_granularity_threshold stage3_param_persistence_threshold stage3_prefetch_bucket_size "
    "stage3_use_all_reduce_for_fetch_params sub_group_size use_multi_rank_bucket_allreduce zenflow "
    "zero_hpz_partition_size zero_quantized_gradients zero_quantized_nontrainable_weights "
    "zero_quantized_weights".split()
)
OFFLOAD_OPTIMIZER = frozenset(
    "device nvme_path buffer_count pin_memory pipeline_read pipeline_write fast_init ratio super_offload "
    "cpuadam_cores_perc".split()
)
OFFLOAD_PARAM = frozenset("device nvme_path buffer_count buffer_size max_in_cpu pin_memory".split())
ACTIVATION_CHECKPOINTING = frozenset(
    "partition_activations number_checkpoints contiguous_memory_optimization synchronize_checkpoint_boundary profile "
    "cpu_checkpointing".split()
)
FLOPS_PROFILER = frozenset(
    "enabled recompute_fwd_factor profile_step module_depth top_modules detailed output_file".split()
)
COMMS_LOGGER = frozenset("enabled prof_all prof_ops verbose debug".split())
TENSORBOARD = frozenset("enabled output_path job_name".split())
WANDB = frozenset("enabled group team project".split())

COMET = frozenset(
    "enabled samples_log_interval project workspace api_key experiment_name experiment_key online mode".split()
)
FP16 = frozenset(
    "enabled auto_cast loss_scale initial_scale_power loss_scale_window hysteresis consecutive_hysteresis min_loss_scale "
    "fp16_master_weights_and_grads".split()
)
"""All are allowed if ``fp16`` is off, as in JSONs that several programs share."""

SECTIONS: dict[str, frozenset[str]] = {
    "zero_optimization": ZERO,
    "zero_optimization.offload_optimizer": OFFLOAD_OPTIMIZER,
    "zero_optimization.offload_param": OFFLOAD_PARAM,
    "activation_checkpointing": ACTIVATION_CHECKPOINTING,
    "flops_profiler": FLOPS_PROFILER,
    "comms_logger": COMMS_LOGGER,
    "tensorboard": TENSORBOARD,
    "csv_monitor": TENSORBOARD,
    "wandb": WANDB,
    "comet": COMET,
    "fp16": FP16,
    "bf16": frozenset({"enabled"}),
    "data_types": frozenset({"grad_accum_dtype"}),
    "optimizer": frozenset({"type", "params"}),
    "optimizer.params": frozenset({"lr", "betas", "eps", "weight_decay", "torch_adam", "adam_w_mode"}),
}
"""``bf16``, ``data_types`` and ``optimizer`` have only the keys that the run's YAML decides: others would be ignored."""

WIRES = frozenset(
    "zero_optimization communication_data_type prescale_gradients gradient_predivide_factor disable_allgather "
    "dump_state disable_python_gc wall_clock_breakdown memory_breakdown steps_per_print flops_profiler comms_logger "
    "tensorboard wandb csv_monitor comet aio activation_checkpointing zero_allow_untested_optimizer "
    "zero_force_ds_cpu_optimizer log_level timers pipeline".split()
)
"""Top-level keys that the JSON owns."""

OWNED_BY_YAML = frozenset(
    "train_batch_size train_micro_batch_size_per_gpu gradient_accumulation_steps gradient_clipping optimizer scheduler "
    "bf16 fp16 data_types".split()
)
"""Top-level keys that the run's YAML owns."""
