"""Facts of the Linux user ABI of five ISAs: numbers and layouts only, no behaviour.

`errno` and `flags` and `signals` name the numbers, `numbers` holds the syscall tables, `structs` the byte
layouts. Everything above speaks the generic values (those of x86-64); what differs per ISA is converted
where a call enters and leaves the kernel.
"""
