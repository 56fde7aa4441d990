"""Intentionally empty: ops of the `bireme` dialect have no generated classes (see
`bireme.ir._mlir`).
"""
