"""Real data sets: arrays, and a record of where they come from."""

from rtrl.data._physics import laser as laser
from rtrl.data._physics import sunspots as sunspots
from rtrl.data._record import DataError as DataError
from rtrl.data._record import Record as Record
from rtrl.data._text import king_james as king_james
