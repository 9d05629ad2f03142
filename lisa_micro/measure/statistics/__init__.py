"""Statistics of sizes over many images: distributions, intervals, fits, edge correction, comparison of groups.

The functions listed here are the public interface; definitions and sources are in the modules.
"""

from lisa_micro.measure.statistics.bootstrap import Estimate, SizeStatistics, size_statistics
from lisa_micro.measure.statistics.comparison import GroupComparison, cliffs_delta, compare_groups, holm, ks_permutation
from lisa_micro.measure.statistics.edges import edge_weights
from lisa_micro.measure.statistics.fits import Fit, fit_lognormal, fit_weibull
from lisa_micro.measure.statistics.outliers import modified_z, outlying
from lisa_micro.measure.statistics.sample_size import images_needed, particles_needed
from lisa_micro.measure.statistics.samples import BASES, Basis, Sample, class_edges, cumulative, density, quantiles

__all__ = [
    "BASES",
    "Basis",
    "Estimate",
    "Fit",
    "GroupComparison",
    "Sample",
    "SizeStatistics",
    "class_edges",
    "cliffs_delta",
    "compare_groups",
    "cumulative",
    "density",
    "edge_weights",
    "fit_lognormal",
    "fit_weibull",
    "holm",
    "images_needed",
    "ks_permutation",
    "modified_z",
    "outlying",
    "particles_needed",
    "quantiles",
    "size_statistics",
]
