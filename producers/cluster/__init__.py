"""The cluster collector: watches a Kubernetes cluster, and emits samples of what it spends."""
