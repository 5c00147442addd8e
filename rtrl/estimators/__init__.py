"""Online gradient estimators: init / step."""

from rtrl.estimators._base import AbstractEstimator as AbstractEstimator
from rtrl.estimators._base import Shared as Shared
from rtrl.estimators._base import add as add
from rtrl.estimators._bptt import BPTT as BPTT
from rtrl.estimators._layer_local import LayerLocalRTRL as LayerLocalRTRL
from rtrl.estimators._rtrl import RTRL as RTRL
from rtrl.estimators._tbptt import TBPTT as TBPTT
