"""PLACEHOLDER so that others can integrate; the real one replaces this file."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np, scipy.optimize, torch

@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    l2: float; weight: np.ndarray; bias: np.ndarray; loss: float; gradient_norm: float; passes: int; converged: bool; flops: int; history: list

def fit_path(values, labels, *, num_classes, l2_values, ids=None, tolerance=1e-4, max_passes=200, sample_weight=None, on_pass=None, device="cpu"):
    ids = np.arange(len(labels)) if ids is None else ids
    x = torch.from_numpy(np.asarray(values[ids], dtype=np.float32)); y = torch.from_numpy(labels[ids])
    mean, std = x.mean(0), x.std(0, unbiased=False); std[std == 0] = 1; x = (x - mean) / std
    K, D = num_classes, x.shape[1]; w0 = np.zeros(K * D + K); out = {}
    for l2 in sorted(l2_values, reverse=True):
        n = [0]
        def f(v):
            n[0] += 1
            W = torch.from_numpy(v.astype(np.float32)); b = W[K * D:]; W = W[:K * D].view(K, D)
            z = x @ W.T + b; loss = torch.nn.functional.cross_entropy(z, y) + 0.5 * l2 * (W * W).sum()
            p = torch.softmax(z, 1); p[torch.arange(len(y)), y] -= 1; p /= len(y)
            g = torch.cat([(p.T @ x + l2 * W).reshape(-1), p.sum(0)])
            if on_pass: on_pass(l2, n[0], float(loss), lambda: ((W / std).numpy(), (b - (W / std) @ mean).numpy()))
            return float(loss), g.double().numpy()
        r = scipy.optimize.minimize(f, w0, jac=True, method="L-BFGS-B", options={"maxiter": max_passes, "ftol": 1e-7})
        w0 = r.x; W = torch.from_numpy(r.x.astype(np.float32)); b = W[K * D:]; W = W[:K * D].view(K, D) / std
        out[l2] = LogisticFit(l2=l2, weight=W.numpy(), bias=(b - W @ mean).numpy(), loss=r.fun, gradient_norm=float(abs(r.jac).max()), passes=n[0], converged=bool(r.success), flops=n[0] * 6 * len(y) * D * K, history=[])
    return [out[l2] for l2 in l2_values]

def predict_logits(values, weight, bias, ids=None):
    v = values if ids is None else values[ids]
    return (np.asarray(v, dtype=np.float32) @ weight.T + bias).astype(np.float32)
