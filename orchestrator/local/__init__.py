"""The embedded cluster: Redis, an S3 server, an orchestrator, workers and Flower on this machine, in one folder.

cluster.py      what the command line calls: start, attach, scale, stop
state.py        the folder: lock, credentials, cluster.json, and who is alive
servers.py      how Redis and SeaweedFS are started
members.py      how our own processes and Flower are started
supervisor.py   the process that starts everything, restarts what crashes and ends it all
watchdog.py     the process that ends everything when the supervisor itself is killed
"""

from orchestrator.local.cluster import Cluster, attach, scale, start, stop

__all__ = ["Cluster", "attach", "scale", "start", "stop"]
