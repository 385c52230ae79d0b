"""Every Protocol of Remit, by role, with its contract in words: the index. Read this first.

General contract. Everything is async and may be called concurrently unless it says otherwise. Cancellation is normal:
a cancelled call may or may not have happened, and repeating it with the same id or key is safe. Only exceptions of
`remit.errors` leave an implementation; foreign ones are translated there, with `from`.
"""

from remit.interfaces.blobs import BlobReader as BlobReader  # blobs, to read
from remit.interfaces.blobs import BlobStore as BlobStore  # blobs, to put and to remove
from remit.interfaces.blobs import Collector as Collector  # finds what is left over
from remit.interfaces.bus import LiveBus as LiveBus  # hints and frames for who is listening
from remit.interfaces.bus import LiveSubscription as LiveSubscription  # what one reader hears
from remit.interfaces.catalog import Catalog as Catalog  # resources, their versions, keys, who needs a blob
from remit.interfaces.harness import Harness as Harness  # the loop around a model
from remit.interfaces.harness import Turn as Turn  # what a harness is given
from remit.interfaces.log import SessionStore as SessionStore  # streams: rows, accounts, outbox, leases
from remit.interfaces.models import CallRecorder as CallRecorder  # makes a call durable, with hold and cost
from remit.interfaces.models import ModelCaller as ModelCaller  # the gateway, for harnesses and graders
from remit.interfaces.models import ModelProvider as ModelProvider  # one protocol of one vendor
from remit.interfaces.models import Prices as Prices  # what models cost
from remit.interfaces.models import SaysWhyNot as SaysWhyNot  # a provider that knows what it cannot serve
from remit.interfaces.models import StreamsAll as StreamsAll  # a provider that streams all that is billed
from remit.interfaces.models import TakesFields as TakesFields  # a provider with a use for more fields
from remit.interfaces.sandboxes import CredentialSource as CredentialSource  # what a session's requests carry
from remit.interfaces.sandboxes import Egress as Egress  # the way out of sandboxes
from remit.interfaces.sandboxes import Listening as Listening  # a socket that listens inside
from remit.interfaces.sandboxes import LiveSandboxes as LiveSandboxes  # those that sessions have now
from remit.interfaces.sandboxes import Sandbox as Sandbox  # one live machine: commands, files, trees, sockets
from remit.interfaces.sandboxes import SandboxProvider as SandboxProvider  # makes sandboxes of one kind
from remit.interfaces.tools import ToolSession as ToolSession  # the session whose tools are opened
from remit.interfaces.tools import Toolset as Toolset  # the tools of one session
from remit.interfaces.tools import ToolSource as ToolSource  # opens tools of one sort for every session
from remit.interfaces.verifiers import Verifier as Verifier  # one sort of proof
from remit.interfaces.workers import Dispatcher as Dispatcher  # turns wakes into runs
from remit.interfaces.workers import StreamHandler as StreamHandler  # carries on the streams of one kind
