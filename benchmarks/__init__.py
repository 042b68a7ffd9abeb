"""Every figure beside its peers: `python -m benchmarks [FIGURE ...] [--runs N] [--json FILE] [--qiling PYTHON]`.

A figure (figures/, one file each) runs the same program (programs/, sources and small ELF files) with every peer
(peers.py) in the same run, and reports the minimum of N runs. A peer that is missing is "not measured".
"""
