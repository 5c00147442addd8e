"""The statements of the ledger under their headings, and which claims bear on each."""

from artifact.ledger import Headings

HEADINGS: Headings = {
    "Exactness and convergence": {
        "RTRL needs no truncation": [
            "rtrl_needs_no_truncation", "online_gradient_is_true", "rtrl_converges_where_truncation_diverges",
        ],
        "It converges": ["converges_to_stationary_point", "staleness_vanishes"],
        "Truncation makes TBPTT inaccurate": [
            "truncation_makes_tbptt_inaccurate", "truncation_stops_short", "control_needs_long_credit",
        ],
        "It learns from the entire data set, not from a subset": ["learns_from_entire_data_set"],
        "It updates online, in real time, in memory that does not grow": [
            "memory_independent_of_length", "answers_in_real_time",
        ],
    },
    "Credit beyond a window": {
        "Its credit reaches back as far as one likes": ["recall_at_any_delay"],
        "It learns what lies beyond a rival's reach": [
            "recall_beyond_tbptt_1", "recall_beyond_tbptt_1_rmsprop", "recall_beyond_tbptt_10",
            "recall_beyond_tbptt_100", "recall_beyond_chunks_of_16", "recall_beyond_chunks_of_128",
        ],
        "It learns better than what covers the delay": [
            "recall_within_tbptt_100", "recall_within_chunks_of_16", "recall_within_chunks_of_128",
            "recall_sooner_than_reaching_chunks",
        ],
        "It needs less time than what covers the delay": ["recall_faster_than_reaching_chunks"],
        "A step takes at most twice as long, at any delay": ["recall_time_per_step"],
        "It need not know the delay": ["recall_without_knowing_the_delay"],
        "On a GRU it solves recall more often": [
            "recall_dense_tbptt_1", "recall_dense_uoro", "recall_dense_kf_rtrl", "recall_dense_ok_4",
            "recall_dense_sketch_8", "recall_dense_snap_1", "recall_dense_e_prop",
        ],
        "It stays finite over long credit": ["stable_over_long_credit"],
        "It learns to count more often": ["counting_tbptt_1", "counting_tbptt_10", "counting_chunks_of_16"],
        "It adds numbers that lie far apart more often": [
            "adding_tbptt_1", "adding_chunks_of_16", "adding_chunks_of_128", "adding_chunks_of_2d",
        ],
        "It copies a word after a pause more often": [
            "copying_tbptt_1", "copying_chunks_of_128", "copying_chunks_of_2d",
        ],
        "It learns trace conditioning": ["learns_trace_conditioning"],
        "It reads digits pixel by pixel as well": ["digits_as_offline"],
    },
    "Learning where ten steps are enough": {
        "It converges faster, per step": [
            "networks_converge_faster_per_step", "converges_faster_per_step", "stack_converges_faster_per_step",
            "exact_beats_window", "exact_beats_immediate", "exact_beats_immediate_rmsprop",
        ],
        "It converges faster, per second": ["networks_converge_faster_per_second", "stack_converges_faster_per_second"],
        "It converges faster, per FLOP": ["networks_converge_faster_per_flop"],
        "Exact credit beats cheaper estimators": ["exact_beats_snap", "exact_beats_ok", "exact_beats_uoro"],
        "It works on synthetic tasks": ["works_on_synthetic"],
        "It works on natural language": ["works_on_language"],
        "It predicts text better, small dense networks": ["beats_compressors_on_language"],
        "It predicts text better, wide diagonal stacks": ["stack_beats_compressors"],
        "It is the state of the art on text": ["state_of_the_art_language"],
        "It saves bits, mixed with context counts": ["adds_to_counts"],
        "Mixed with context counts, it is the state of the art on text": ["state_of_the_art_mixture"],
    },
    "Acting from memory": {
        "It learns to act from memory, in one stream": ["control_solves"],
        "It acts rightly from memory more often": [
            "control_over_tbptt_10", "control_over_tbptt_1", "control_over_fixed_memory", "control_over_chunks_of_16",
        ],
        "One stream does better than what was published for sixteen": ["control_over_published"],
        "A step of acting and learning takes at most twice as long": ["control_time_per_step"],
    },
    "Cost": {
        "It takes less time, dense cells": [
            "less_time_dense", "less_time_than_chunks_dense", "costs_less_time_dense",
        ],
        "It takes less time, diagonal cells": [
            "less_time_diagonal", "less_time_than_chunks_diagonal", "costs_less_time_diagonal_stack",
        ],
        "It takes less time, continuous cells": ["less_time_continuous", "less_time_than_chunks_continuous"],
        "It takes less memory, dense cells": [
            "less_memory_dense", "less_memory_than_chunks_dense", "costs_less_memory_dense",
        ],
        "It takes less memory, diagonal cells": ["less_memory_diagonal", "less_memory_than_chunks_diagonal"],
        "It takes less memory, continuous cells": ["less_memory_continuous", "less_memory_than_chunks_continuous"],
        "It suits large-scale use": ["suits_large_scale"],
        "It suits large-scale use, modelled": ["suits_large_scale_modelled"],
        "A count of operations and bytes tells its time": ["cost_is_as_modelled"],
        "It keeps the pace of an accelerator's memory": ["accelerator_pace"],
        "On an accelerator it is as fast as parallel chunks": ["accelerator_over_chunks"],
        "It suits resource-constrained devices": [
            "suits_constrained_devices", "suits_constrained_devices_memory", "devices_against_window",
        ],
    },
    "Data that change": {
        "It adapts to changing data distributions": ["adapts", "learning_on_pays"],
        "It relearns faster what returns": ["relearns_faster"],
        "Being online is enough to adapt": ["adapts_by_being_online"],
        "It adapts because its credit is exact": [
            "adapts_by_exact_credit", "adapts_better_than_window", "adapts_better_than_snap",
        ],
        "It adapts better than what has no recurrent network": [
            "adapts_better_than_filter", "adapts_better_than_linear_adwin", "adapts_better_than_snarimax",
            "adapts_better_than_adaptive_tree", "adapts_better_than_adaptive_forest",
        ],
        "It recovers faster after a change": ["recovers_faster"],
    },
    "Differential equations": {
        "It learns ordinary differential equations": ["trains_neural_odes", "works_on_chaos"],
        "It identifies a system better": [
            "identifies_better_than_window", "identifies_better_than_immediate", "better_than_offline_1",
            "better_than_offline_20", "identifies_better_than_filter", "identifies_better_than_least_squares",
            "identifies_better_than_segments",
        ],
        "It learns stochastic differential equations": ["learns_sdes", "two_copies_converge_at_the_rate"],
        "A stationary distribution needs a second copy": ["one_copy_is_biased"],
        "It trains neural SDEs": ["trains_neural_sdes", "neural_sde_forecasts_volatility"],
    },
    "Fields of application": {
        "It is at or above the best simple baseline in speech": ["applies_to_speech"],
        "It is at or above the best simple baseline in finance": ["applies_to_finance"],
        "It is at or above the best simple baseline in health": ["applies_to_health"],
        "It is at or above the best simple baseline in physics": ["applies_to_physics"],
        "It is at or above the state of the art": ["state_of_the_art_applications"],
        "Exact credit is better there": ["exact_beats_window_applications", "exact_beats_immediate_applications"],
    },
}  # fmt: skip
