"""Trials and searches on a Ray cluster: data and weights travel once a node, one driver writes the results"""
