"""Tools of agents: of the sandbox, custom ones, and several sources as one."""
