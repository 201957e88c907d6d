"""Parts of ``benchmarks/overhead.py``: what each way of running experiments that take no time costs."""
