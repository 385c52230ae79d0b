"""Source code, told by the names of files and their first line. Pure.

Templates, styles, queries and markup that a program renders are source too; data, expected output and lock files are not.
"""

from __future__ import annotations

import posixpath

_EXTENSIONS = """py pyi pyx pxd pxi ipynb js jsx mjs cjs ts tsx mts cts vue svelte astro coffee litcoffee ls go rs c h cc hh cpp hpp cxx hxx
    c++ h++ inl ipp tcc def m mm swift java kt kts scala sc groovy gradle clj cljs cljc edn cs fs fsi fsx vb rb rake gemspec ru erb
    php phtml pl pm pod t xs raku lua moon luau r R jl ex exs eex heex leex erl hrl hs lhs ml mli mll mly fs elm purs idr agda lean v
    vhd vhdl sv svh nim zig odin d di f f77 f90 f95 f03 f08 for ada adb ads pas pp dpr lpr cob cbl lisp cl el scm ss rkt fnl hy
    dart hx sh bash zsh ksh fish bats ps1 psm1 bat cmd awk sed tcl expect asm s S nasm y yy l ll lex ypp re2c g4 g peg pegjs
    jison ne lark ebnf bnf pest tf hcl nix dhall cue rego sol vy move cairo wat wgsl glsl vert frag geom comp hlsl metal cl cu cuh
    m4 ac am cmake mk mak make ninja bzl bazel star starlark bp pro pri qml ui sql psql plsql ddl graphql gql prisma thrift proto
    fbs capnp avdl avsc wsdl xsl xslt xq xquery html htm xhtml shtml css scss sass less styl stylus pcss jinja jinja2 j2
    mustache hbs handlebars ejs pug jade haml slim liquid twig njk nunjucks ftl vm tmpl tpl template gotmpl mako latte blade
    md mdx markdown rst adoc asciidoc tex sty cls bib org textile rdoc typ svg dot gv puml mmd po pot ftl strings gd tscn
    applescript vim cr io factor forth fth ring p4 spin q k apl bqn abap apex trigger pks pkb prg bas cls frm feature story"""
_SOURCES = frozenset(_EXTENSIONS.split())


def is_source(path: str, first_line: str | None = None) -> bool:
    """Return whether this is source code. A file without an extension is when it begins with `#!`."""
    name = posixpath.basename(path)
    stem, dot, extension = name.lstrip(".").rpartition(".")
    if not dot:
        return bool(first_line and first_line.startswith("#!"))
    if extension in ("in", "dist", "tt"):  # config.h.in is a template, 1.in is data
        return is_source(stem)
    return extension in _SOURCES
