"""Real data sets: arrays, and a record of where they come from; streams of one's own."""

from rtrl.data._finance import Prices as Prices
from rtrl.data._finance import nasdaq as nasdaq
from rtrl.data._finance import sp500 as sp500
from rtrl.data._finance import vix as vix
from rtrl.data._finance import wti as wti
from rtrl.data._health import Recording as Recording
from rtrl.data._health import heart_rate as heart_rate
from rtrl.data._physics import el_nino as el_nino
from rtrl.data._physics import laser as laser
from rtrl.data._physics import sunspots as sunspots
from rtrl.data._record import DataError as DataError
from rtrl.data._record import Record as Record
from rtrl.data._speech import Utterances as Utterances
from rtrl.data._speech import japanese_vowels as japanese_vowels
from rtrl.data._stream import check_series as check_series
from rtrl.data._stream import chunks as chunks
from rtrl.data._text import king_james as king_james
from rtrl.data._text import python_topics as python_topics
from rtrl.data._vocabulary import Vocabulary as Vocabulary
