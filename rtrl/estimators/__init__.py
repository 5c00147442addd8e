"""Online gradient estimators: init / forward / backward."""

from rtrl.estimators._base import AbstractEstimator as AbstractEstimator
from rtrl.estimators._base import Shared as Shared
from rtrl.estimators._base import add as add
from rtrl.estimators._base import largest as largest
from rtrl.estimators._base import outputs_of as outputs_of
from rtrl.estimators._base import over_steps as over_steps
from rtrl.estimators._base import through_outputs as through_outputs
from rtrl.estimators._chunked import BPTT as BPTT
from rtrl.estimators._chunked import ChunkedBPTT as ChunkedBPTT
from rtrl.estimators._eprop import EProp as EProp
from rtrl.estimators._kf_rtrl import KFRTRL as KFRTRL
from rtrl.estimators._kronecker import KroneckerSum as KroneckerSum
from rtrl.estimators._layer_local import LayerLocalRTRL as LayerLocalRTRL
from rtrl.estimators._ok import OK as OK
from rtrl.estimators._random import key_of as key_of
from rtrl.estimators._rflo import RFLO as RFLO
from rtrl.estimators._rtrl import RTRL as RTRL
from rtrl.estimators._sketched import SketchedRTRL as SketchedRTRL
from rtrl.estimators._snap import SnAp as SnAp
from rtrl.estimators._sparse import SparseInfluence as SparseInfluence
from rtrl.estimators._tbptt import TBPTT as TBPTT
from rtrl.estimators._tbptt import Window as Window
from rtrl.estimators._uoro import UORO as UORO
