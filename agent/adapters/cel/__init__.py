"""Conditions of rules in CEL (Common Expression Language), by the interpreter in Rust."""

from agent.adapters.cel.compiler import CelRuleCompiler

__all__ = ["CelRuleCompiler"]
