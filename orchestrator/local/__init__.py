"""The embedded cluster: Redis, an S3 server, an orchestrator, workers and Flower on this machine, in one folder.

cluster.py        the interface of the command line: start, attach, scale, stop
state_folder.py   the folder: lock, credentials, cluster.json, living processes
servers.py        how Redis and SeaweedFS are started
process_specs.py  how our own processes and Flower are started
children.py       the supervisor's child processes: start, restart, end
supervisor.py     the process that starts everything, restarts what crashes and ends it all
watchdog.py       the process that ends everything when the supervisor itself is killed
"""

from orchestrator.local.cluster import Cluster, attach, scale, start, stop

__all__ = ["Cluster", "attach", "scale", "start", "stop"]
