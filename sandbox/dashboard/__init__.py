"""What a person sees and presses: the only door to rich.

From the outside in: `app` runs the loop; `keys` and `screen` are the terminal; `keymap` and `commands` are
the tables of what can be pressed and typed; `layout` divides the screen; `panels/` draw; `view` is what
they draw, made by a source (`source` is the protocol, `collector` the one for a hypervisor in this process);
`text` and `palette` are what may be drawn and in which style. Importing this package loads none of them.
"""
