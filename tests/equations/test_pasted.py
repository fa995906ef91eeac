"""Equations as papers, books and manuals typeset them, pasted whole."""

from __future__ import annotations

import pytest

from elman.equations import Cell

PASTED = {
    "pytorch_lstm": (
        r"""\begin{array}{ll} \\
            i_t = \sigma(W_{ii} x_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}) \\
            f_t = \sigma(W_{if} x_t + b_{if} + W_{hf} h_{t-1} + b_{hf}) \\
            g_t = \tanh(W_{ig} x_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
            o_t = \sigma(W_{io} x_t + b_{io} + W_{ho} h_{t-1} + b_{ho}) \\
            c_t = f_t \odot c_{t-1} + i_t \odot g_t \\
            h_t = o_t \odot \tanh(c_t) \\
        \end{array}""",
        """
i = sigmoid(W_ii x + b_ii + W_hi h<t-1> + b_hi)
f = sigmoid(W_if x + b_if + W_hf h<t-1> + b_hf)
g = tanh(W_ig x + b_ig + W_hg h<t-1> + b_hg)
o = sigmoid(W_io x + b_io + W_ho h<t-1> + b_ho)
c = f * c<t-1> + i * g
h = o * tanh(c)
""",
    ),
    "pytorch_gru": (
        r"""\begin{array}{ll}
            r_t = \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{(t-1)} + b_{hr}) \\
            z_t = \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{(t-1)} + b_{hz}) \\
            n_t = \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{(t-1)}+ b_{hn})) \\
            h_t = (1 - z_t) \odot n_t + z_t \odot h_{(t-1)}
        \end{array}""",
        """
r = sigmoid(W_ir x + b_ir + W_hr h<t-1> + b_hr)
z = sigmoid(W_iz x + b_iz + W_hz h<t-1> + b_hz)
n = tanh(W_in x + b_in + r * (W_hn h<t-1> + b_hn))
h = (1 - z) * n + z * h<t-1>
""",
    ),
    "encyclopaedia_lstm": (
        r"""{\begin{aligned}f_{t}&=\sigma _{g}(W_{f}x_{t}+U_{f}h_{t-1}+b_{f})\\i_{t}&=\sigma _{g}(W_{i}x_{t}+U_{i}h_{t-1}+b_{i})\\o_{t}&=\sigma _{g}(W_{o}x_{t}+U_{o}h_{t-1}+b_{o})\\{\tilde {c}}_{t}&=\sigma _{c}(W_{c}x_{t}+U_{c}h_{t-1}+b_{c})\\c_{t}&=f_{t}\odot c_{t-1}+i_{t}\odot {\tilde {c}}_{t}\\h_{t}&=o_{t}\odot \sigma _{h}(c_{t})\end{aligned}}""",
        """
f = sigmoid(W_f x + U_f h<t-1> + b_f)
i = sigmoid(W_i x + U_i h<t-1> + b_i)
o = sigmoid(W_o x + U_o h<t-1> + b_o)
c~ = tanh(W_c x + U_c h<t-1> + b_c)
c = f * c<t-1> + i * c~
h = o * tanh(c)
""",
    ),
    "textbook_rows_gru": (
        r"""\begin{aligned}
\mathbf{R}_t = \sigma(\mathbf{X}_t \mathbf{W}_{\textrm{xr}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{hr}} + \mathbf{b}_\textrm{r}),\\
\mathbf{Z}_t = \sigma(\mathbf{X}_t \mathbf{W}_{\textrm{xz}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{hz}} + \mathbf{b}_\textrm{z}),
\end{aligned}
\tilde{\mathbf{H}}_t = \tanh(\mathbf{X}_t \mathbf{W}_{\textrm{xh}} + \left(\mathbf{R}_t \odot \mathbf{H}_{t-1}\right) \mathbf{W}_{\textrm{hh}} + \mathbf{b}_\textrm{h})
\mathbf{H}_t = \mathbf{Z}_t \odot \mathbf{H}_{t-1}  + (1 - \mathbf{Z}_t) \odot \tilde{\mathbf{H}}_t.""",
        """
R<t> = sigmoid(W_xr X + W_hr H<t-1> + b_r)
Z = sigmoid(W_xz X + W_hz H<t-1> + b_z)
H~ = tanh(W_xh X + W_hh (R * H<t-1>) + b_h)
H = Z * H<t-1> + (1 - Z) * H~
""",
    ),
    "blog_lstm": (
        r"""f_t = \sigma(W_f \cdot [h_{t-1}, x_t] + b_f)
i_t = \sigma(W_i \cdot [h_{t-1}, x_t] + b_i)
\tilde{C}_t = \tanh(W_C \cdot [h_{t-1}, x_t] + b_C)
C_t = f_t * C_{t-1} + i_t * \tilde{C}_t
o_t = \sigma(W_o [h_{t-1}, x_t] + b_o)
h_t = o_t * \tanh(C_t)""",
        """
f = sigmoid(W_f [h<t-1>, x] + b_f)
i = sigmoid(W_i [h<t-1>, x] + b_i)
C~ = tanh(W_C [h<t-1>, x] + b_C)
C = f * C<t-1> + i * C~
o = sigmoid(W_o [h<t-1>, x] + b_o)
h = o * tanh(C)
""",
    ),
    "cho_gru": (
        r"""r_t = \sigma\left(\mathbf{W}_r \mathbf{x}_t + \mathbf{U}_r \mathbf{h}_{\langle t-1\rangle}\right)
z_t = \sigma( W_z x_t + U_z h_{t-1})
\tilde{h}_t = \phi( W x_t + U (r_t \odot h_{t-1}))
h_t = z_t h_{t-1} + (1 - z_t) \tilde{h}_t""",
        """
r = sigmoid(W_r x + U_r h<t-1>)
z = sigmoid(W_z x + U_z h<t-1>)
h~ = tanh(W x + U (r * h<t-1>))
h = z * h<t-1> + (1 - z) * h~
""",
    ),
    "graves_lstm": (
        r"""i_t = \sigma\left(W_{xi}x_t + W_{hi}h_{t-1} + W_{ci}c_{t-1} + b_i\right) \tag{1}
f_t = \sigma(W_{xf}x_t + W_{hf}h_{t-1} + W_{cf}c_{t-1} + b_f)
c_t = f_tc_{t-1} + i_t\tanh(W_{xc}x_t + W_{hc}h_{t-1} + b_c)
o_t = \sigma(W_{xo}x_t + W_{ho}h_{t-1} + W_{co}c_t + b_o)
h_t = o_t\tanh(c_t)""",
        """
i = sigmoid(W_xi x + W_hi h<t-1> + W_ci c<t-1> + b_i)
f = sigmoid(W_xf x + W_hf h<t-1> + W_cf c<t-1> + b_f)
c = f * c<t-1> + i * tanh(W_xc x + W_hc h<t-1> + b_c)
o = sigmoid(W_xo x + W_ho h<t-1> + W_co c + b_o)
h = o * tanh(c)
""",
    ),
    "unicode_rnn": (
        r"""hₜ = tanh(W xₜ + U hₜ₋₁ + b)""",
        """
h = tanh(W x + U h<t-1> + b)
""",
    ),
    "document": (
        r"""\documentclass{article}
\begin{document}
The cell:
\begin{equation}
h_t = \tanh(W h_{t-1} + U x_t + b)
\end{equation}
\end{document}""",
        """
h = tanh(W h<t-1> + U x + b)
""",
    ),
    "trailing_words": (
        r"""h_t = \tanh(W h_{t-1} + U x_t + b), \text{ where } b \text{ is a bias}""",
        """
h = tanh(W h<t-1> + U x + b)
""",
    ),
}


@pytest.mark.parametrize("name", PASTED)
def test_what_is_pasted_is_understood(name: str) -> None:
    pasted, meant = PASTED[name]
    assert Cell(pasted) == Cell(meant)
    assert Cell(Cell(pasted).latex()) == Cell(meant)
