"""`ConnectionManager`: rooms for programs that have a WebSocket server of their own."""

from roomactors.manager.connection import RemovedReason as RemovedReason
from roomactors.manager.manager import ConnectionManager as ConnectionManager
