"""Real data sets: arrays, and a record of where they come from; streams of one's own."""

from artifact.data._digits import Digits as Digits
from artifact.data._digits import digits as digits
from artifact.data._digits import mnist1d as mnist1d
from artifact.data._finance import Bars as Bars
from artifact.data._finance import Prices as Prices
from artifact.data._finance import nasdaq as nasdaq
from artifact.data._finance import nasdaq_bars as nasdaq_bars
from artifact.data._finance import sp500 as sp500
from artifact.data._finance import sp500_bars as sp500_bars
from artifact.data._finance import vix as vix
from artifact.data._finance import wti as wti
from artifact.data._health import Recording as Recording
from artifact.data._health import heart_rate as heart_rate
from artifact.data._physics import el_nino as el_nino
from artifact.data._physics import laser as laser
from artifact.data._physics import sunspots as sunspots
from artifact.data._record import DataError as DataError
from artifact.data._record import Record as Record
from artifact.data._speech import Utterances as Utterances
from artifact.data._speech import japanese_vowels as japanese_vowels
from artifact.data._stream import check_series as check_series
from artifact.data._stream import chunks as chunks
from artifact.data._text import king_james as king_james
from artifact.data._text import python_topics as python_topics
from artifact.data._vocabulary import Vocabulary as Vocabulary
