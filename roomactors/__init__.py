"""Realtime rooms on trio: a server, a library, and a kit to test them with."""

from roomactors.core.commands import Receipt as Receipt
from roomactors.core.events import Event as Event
from roomactors.core.events import Gap as Gap
from roomactors.core.events import MemberInfo as MemberInfo
from roomactors.core.events import MemberJoined as MemberJoined
from roomactors.core.events import MemberLeft as MemberLeft
from roomactors.core.events import Message as Message
from roomactors.core.handles import Arrival as Arrival
from roomactors.core.handles import RoomHandle as RoomHandle
from roomactors.core.handles import Seat as Seat
from roomactors.core.hooks import Hooks as Hooks
from roomactors.core.hub import Hub as Hub
from roomactors.core.hub import HubStatistics as HubStatistics
from roomactors.core.member import MemberView as MemberView
from roomactors.core.room import RoomStatistics as RoomStatistics
from roomactors.core.settings import HubSettings as HubSettings
from roomactors.core.settings import RoomSettings as RoomSettings
from roomactors.errors import *  # noqa: F403
from roomactors.library import open_hub as open_hub
from roomactors.manager import ConnectionManager as ConnectionManager
from roomactors.manager import RemovedReason as RemovedReason
from roomactors.server.admission import AdmissionRequest as AdmissionRequest
from roomactors.server.config import ServerSettings as ServerSettings
from roomactors.server.listen import Server as Server
from roomactors.server.listen import ServerStatistics as ServerStatistics
from roomactors.server.listen import serve as serve
