"""Test your rooms in milliseconds: a hub, a server and clients in memory, on the mock clock."""

from roomactors.testing.client import Client as Client
from roomactors.testing.client import Closed as Closed
from roomactors.testing.client import HttpAnswer as HttpAnswer
from roomactors.testing.kit import MemoryServer as MemoryServer
from roomactors.testing.kit import open_test_hub as open_test_hub
from roomactors.testing.kit import open_test_server as open_test_server
from roomactors.testing.network import MemoryLink as MemoryLink
from roomactors.testing.network import MemoryStream as MemoryStream
from roomactors.testing.network import Wire as Wire
from roomactors.testing.network import memory_link_pair as memory_link_pair
