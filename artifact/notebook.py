"""What a notebook uses to publish its figures, tables, numbers and claims."""

from artifact.claims import Claim as Claim
from artifact.claims import Evidence as Evidence
from artifact.kept import KeptRun as KeptRun
from artifact.measured import read_measured as read_measured
from artifact.publication import Publication as Publication
from artifact.statistics import bootstrap_interval as bootstrap_interval
from artifact.statistics import mean_interval as mean_interval
from artifact.statistics import median_interval as median_interval
from artifact.statistics import over_time as over_time
from artifact.statistics import over_time_and_networks as over_time_and_networks
from artifact.statistics import share_interval as share_interval
from artifact.statistics import two_sample_interval as two_sample_interval
from artifact.style import COLOURS as COLOURS
from artifact.style import WIDTH as WIDTH
from artifact.timing import elsewhere as elsewhere
from artifact.timing import in_turns as in_turns
from artifact.timing import ready as ready
from artifact.timing import size as size
from artifact.timing import timed as timed
