"""Normal numbers from a counter: Philox4x32-7 and Box-Muller, the same bits on every device.

`compiled` draws them on a CPU, `cuda` on a GPU in one kernel, and `tensors` by torch operators
where a GPU has no Triton; none is imported before it is used. `addresses` says which number belongs
to which element of which parameter.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
(Philox; seven rounds are the fewest that pass every test of BigCrush); Box and Muller, Ann. Math.
Stat. 29, 610 (1958). The coefficients of logarithm, sine and cosine are those of Moshier's Cephes.
"""
