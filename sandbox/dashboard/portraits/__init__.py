"""One machine that stands still, as views: `processor`, `memory`, `kernel` (tasks, files), `devices`.

Called by the collector under the hypervisor's lock, so each is quick and bounded whatever the guest has done. They
only look: no page is brought in, no clock is read, nothing is counted, so that a deterministic run does not
notice that somebody watches.
"""
