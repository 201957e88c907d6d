"""Figures for papers: from points and samples to Vega-Lite specifications, and from these to SVG and PDF."""
