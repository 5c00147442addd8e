"""What a notebook uses to publish its figures, tables, numbers and claims."""

from rtrl.artifact.claims import Claim as Claim
from rtrl.artifact.claims import Evidence as Evidence
from rtrl.artifact.measured import read_measured as read_measured
from rtrl.artifact.publication import Publication as Publication
from rtrl.artifact.statistics import bootstrap_interval as bootstrap_interval
from rtrl.artifact.statistics import mean_interval as mean_interval
from rtrl.artifact.statistics import over_time as over_time
from rtrl.artifact.style import COLOURS as COLOURS
from rtrl.artifact.style import WIDTH as WIDTH
from rtrl.artifact.timing import timed as timed
