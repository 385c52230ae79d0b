"""The variables of a judge's sandbox: where tools look for what they would load or obey, and where they keep caches."""

from __future__ import annotations

from collections.abc import Mapping


def fixed(home: str, *, bytecode: str) -> Mapping[str, str]:
    """Whatever the environment says. `home` is empty and cannot be written; nor can `bytecode`, where alone Python looks
    for it: not beside its sources, where the work may have put some."""
    return {
        "HOME": home,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": bytecode,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GOENV": "off",
    }


def defaults(home: str, caches: str) -> Mapping[str, str]:
    """Unless the environment says otherwise: whoever brings a toolchain knows where its parts are. Caches, which tools
    must write, are below `caches`; what their tools would run or obey from there is below `home`."""
    return {
        "XDG_CACHE_HOME": f"{caches}/xdg",
        "XDG_STATE_HOME": f"{caches}/state",
        "GOTOOLCHAIN": "local",
        "GOPATH": f"{caches}/go",
        "GOCACHE": f"{caches}/go-build",
        "CARGO_HOME": f"{caches}/cargo",
        "GRADLE_USER_HOME": f"{caches}/gradle",
        "npm_config_cache": f"{caches}/npm",
        "npm_config_update_notifier": "false",
        "COREPACK_HOME": f"{home}/corepack",
        "YARN_GLOBAL_FOLDER": f"{caches}/yarn",
        "BUNDLE_USER_HOME": f"{home}/bundle",
        "BUNDLE_USER_CONFIG": f"{home}/bundle/config",
        "BUNDLE_USER_PLUGIN": f"{home}/bundle/plugin",
        "BUNDLE_USER_CACHE": f"{caches}/bundle",
        "COMPOSER_CACHE_DIR": f"{caches}/composer",
        "DOTNET_CLI_HOME": f"{caches}/dotnet",
        "NUGET_PACKAGES": f"{caches}/nuget",
        "JUPYTER_RUNTIME_DIR": f"{caches}/jupyter",
    }
