"""Equations as papers, books and manuals typeset them, pasted whole."""

from __future__ import annotations

import pytest

from elman.equations import Cell
from elman.errors import EquationError

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
    "columns": (
        r"""z_t = \sigma\left(W_z \begin{bmatrix} h_{t-1} \\ x_t \end{bmatrix} + b_z\right) \\
h_t = z_t \odot h_{t-1} + (1 - z_t) \odot \tanh\left(W \begin{pmatrix}
    h_{t-1} \\
    z_t \\[2pt]
    x_t \\
\end{pmatrix} + V \left[\begin{array}{c} x_t \\ z_t \end{array}\right]\right)""",
        """
z = sigmoid(W_z [h<t-1>, x] + b_z)
h = z * h<t-1> + (1 - z) * tanh(W [h<t-1>, z, x] + V [x, z])
""",
    ),
    "several_on_a_line": (
        r"""i_t = \sigma(W_i [h_{t-1}, x_t]), \quad f_t = \sigma(W_f [h_{t-1}; x_t]),\; g_t = \tanh(W_g x_t) \qquad t = 1, \dots, T
c_t = f_t \odot c_{t-1} + i_t \odot g_t, h_t = \max(c_t, 0), \quad \forall t \in \{1, 2\}""",
        """
i = sigmoid(W_i [h<t-1>, x])
f = sigmoid(W_f [h<t-1>, x])
g = tanh(W_g x)
c = f * c<t-1> + i * g
h = max(c, 0)
""",
    ),
    "ones_and_thin_spaces": (
        r"""z_t = \sigma(W x_t) \\ h_t = (\mathbf{1} - z_t) \, h_{t-1} + (\mathbb{1} - r_t) \, z_t \\ r_t = \max\left\{0, V x_t\right\}""",
        """
z = sigmoid(W x)
h = (1 - z) * h<t-1> + (1 - r) * z
r = max(0, V x)
""",
    ),
    "numbered": (
        r"""z_t = \sigma(W_z x_t + b_z) \qquad (1)
r_t = \sigma(W_r [h_{t-1}, x_t]), (2) \\
k_t = r_t h_{t-1}   (2.1a) \\
h_t = z_t h_{t-1} + (1 - z_t) \tanh(V k_t)\hspace{1em} (3)""",
        """
z = sigmoid(W_z x + b_z)
r = sigmoid(W_r [h<t-1>, x])
k = r * h<t-1>
h = z * h<t-1> + (1 - z) * tanh(V k)
""",
    ),
    "letters_of_ranges": (
        r"""r = \sigma(W_r x + U_r h_{t-1}), \quad n = \tanh(W_n x + r \odot (U_n h_{t-1})), \quad k = 1 - r, \quad t = 1, \dots, T \\
h_t = n + k \odot h_{t-1} \qquad n = 1, 2, \ldots""",
        """
r = sigmoid(W_r x + U_r h<t-1>)
n = tanh(W_n x + r * (U_n h<t-1>))
k = 1 - r
h = n + k * h<t-1>
""",
    ),
    "logistic_spelt_out": (
        r"""z_t = \frac{1}{1 + e^{-(W_z x_t + U_z h_{t-1})}} \\ r_t = \frac{1}{\exp(- U_r h_{t-1} - b_r) + 1}
n_t = \frac{e^{W x_t} - e^{-W x_t}}{e^{W x_t} + e^{-W x_t}}
h_t = e^{-\tau} z_t h_{t-1} + r_t n_t \\ \tau = 0.5""",
        """
z = sigmoid(W_z x + U_z h<t-1>)
r = sigmoid(U_r h<t-1> + b_r)
n = tanh(W x)
h = exp(-tau) * z * h<t-1> + r * n
tau = 0.5
""",
    ),
    "value_called_e": (
        r"""e^{<t>} = \tanh(W e^{<t-1>} + U x^{<t>})""",
        """
e = tanh(W e<t-1> + U x)
""",
    ),
    "fonts_of_old": (
        r"""{\bf h}_t = \tanh({\bf W} {\bf h}_{t-1} + {\bf U} {\bf x}_t + {\bf b})""",
        """
h = tanh(W h<t-1> + U x + b)
""",
    ),
    "layers_by_number": (
        r"""h_t^{(1)} = \tanh(W^{(1)} x_t + U^{(1)} h_{t-1}^{(1)}) \\
a^{[2]\langle t\rangle} = g(W_a^{[2]} [a^{[2]\langle t-1\rangle}, h_t^{(1)}] + b_a^{[2]})""",
        """
h_1 = tanh(W_1 x + U_1 h_1<t-1>)
a_2 = tanh(W_a_2 [a_2<t-1>, h_1] + b_a_2)
""",
    ),
    "elman_of_an_encyclopaedia": (
        r"""h_t = \sigma_h(W_h x_t + U_h h_{t-1} + b_h) \\ y_t = \sigma_y(W_y h_t + b_y)""",
        """
h = tanh(W_h x + U_h h<t-1> + b_h)
y = softmax(W_y h + b_y)
""",
    ),
    "peepholes_of_capital_letters": (
        r"""i_t = \sigma(W_{xi} x_t + W_{hi} h_{t-1} + W_{ci} \circ c_{t-1} + b_i) \\
f_t = \sigma(W_{xf} x_t + W_{hf} h_{t-1} + W_{cf} \circ c_{t-1} + b_f) \\
c_t = f_t \circ c_{t-1} + i_t \circ \tanh(W_{xc} x_t + W_{hc} h_{t-1} + b_c) \\
o_t = \sigma(W_{xo} x_t + W_{ho} h_{t-1} + W_{co} \circ c_t + b_o) \\
h_t = o_t \circ \tanh(c_t)""",
        """
i = sigmoid(W_xi x + W_hi h<t-1> + w_ci * c<t-1> + b_i)
f = sigmoid(W_xf x + W_hf h<t-1> + w_cf * c<t-1> + b_f)
c = f * c<t-1> + i * tanh(W_xc x + W_hc h<t-1> + b_c)
o = sigmoid(W_xo x + W_ho h<t-1> + w_co * c + b_o)
h = o * tanh(c)
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


def test_a_matrix_from_x_to_i_is_not_called_after_a_greek_letter() -> None:
    latex = Cell(PASTED["peepholes_of_capital_letters"][0]).latex()
    assert "W_{xi}" in latex
    assert r"\xi" not in latex


GATED = r"z_t = \sigma(W x_t) \\ r_t = \sigma(V x_t) \\ h_t = "
REFUSED = {
    GATED + r"zz_t \odot h_{t-1} + r_t": "'zz_t' reads letter by letter, as a product; did you mean 'z_t'?",
    GATED + r"\tanh(U zz_t) + r_t h_{t-1}": "z stands without its time beside another name",
    GATED + r"z_t h_{t-1} + \tanh(U xx_t) + r_t": "x stands without its time beside another name",
    GATED + r"z_t h_{t-1} + bz_t + r_t": "the bias b stands beside another name",
    GATED + r"z_t h_{t-1} + ot_t + r_t": "unknown name 'o' in 'ot_t'",
    GATED + r"\tanh(U h_{t-1} z_t + b) + r_t": "with the matrix U can be multiplied in two orders",
    GATED + r"\tanh(z_t h_{t-1} U + b) + r_t": "with the matrix U can be multiplied in two orders",
    GATED + r"z_t h_{t-1} + W_{cz} \odot r_t + \tanh(W_{cz} r_t)": "w_cz for an elementwise weight (a peephole)",
    GATED + r"z_t h_{t-1} + W_{cz} \odot r_t + w_{cz} \odot z_t": "w_cz for an elementwise weight (a peephole)",
    GATED + r"z_t h_{t-1} + r_t \circ U \circ r_t": "the matrix U stands before a sign of the elementwise product",
    GATED + r"z_t + 1/2 r_t h_{t-1}": "write (a / b) * c or a / (b * c)",
    "h = tanh(W h<t-1> + U x) + 1/2 h<t-1>": "write (a / b) * c or a / (b * c)",
    GATED + r"z_t + \tanh r_t h_{t-1}": "the argument of tanh has no brackets, and may end at two places",
    GATED + r"z_t + r_t + \sigma 2 h_{t-1}": "the argument of sigma has no brackets, and may end at two places",
    GATED + r"\sigma(w^\top h_{t-1}) z_t + r_t": "w^T before another vector is an inner product",
    GATED + r"z_t + r_t + \tanh(h_{t-1}^T U x_t)": "h^T before another vector is an inner product",
    GATED + r"z_t + r_t^\top \cdot h_{t-1}": "r^T before another vector is an inner product",
    GATED + r"z_t + r_t h_{t-1} + \vec{g}_t": "unknown name 'g>'",
    r"h_t = \tanh(\mathbf{Wx}_t + U h_{t-1})": "the matrix W and the vector x are written as one name",
    r"h(t) = \tanh(W h(t-1) + U x(t))": "write a time as h<t> and h<t-1>, or h_t and h_{t-1}",
    r"h_t = \sigma_q(W h_{t-1} + U x_t)": "functions={'sigma_q': 'tanh'}",
    r"h_t = \sigma_y(W h_{t-1} + U x_t)": "softmax may end an output equation",
    r"h^1_t = \tanh(W h^1_{t-1} + U x_t)": "a layer's number has brackets, h^{(1)}",
    r"out_t = \tanh(W h_{t-1} + U x_t)": r"a name of several letters is \mathrm{out}",
    r"\sigma(a) = \frac{1}{1+e^{-a}} \\ h_t = \sigma(W h_{t-1} + U x_t)": "leave this line out",
    r"h_t = \tanh([W & U] \begin{bmatrix} W & U \end{bmatrix} [h_{t-1}, x_t])": "several columns must not be written out",
    r"\begin{bmatrix} i_t \\ f_t \end{bmatrix} = \sigma(W [h_{t-1}, x_t])": "write one equation for each entry",
    r"\tau \frac{dh}{dt} = -h + \tanh(W h + U x)": "got the derivative of h",
    r"\tau \frac{\mathrm{d} \mathbf{v}(t)}{\mathrm{d} t} = -v + W x": "becomes v_t = v_{t-1} + 0.1 * (f)",
    "tau * dh/dt = -h + tanh(W h + U x)": "a cell is a step in time, not a differential equation",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_would_be_misread_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(EquationError) as caught:
        Cell(text)
    assert REFUSED[text] in str(caught.value)
    assert caught.value.hint and "^\n" in str(caught.value)


@pytest.mark.parametrize("layer", [r"h^{(l)}_t = \tanh(W h^{(l)}_{t-1} + U x_t)", r"h^l_t = W h^l_{t-1} + U h^{l-1}_t"])
def test_a_letter_for_the_layer_is_no_time(layer: str) -> None:
    with pytest.raises(EquationError, match="one letter must stand for time; got l, t") as caught:
        Cell(layer)
    assert caught.value.hint and "elman.Stack" in caught.value.hint


def test_a_start_written_with_a_subscript_is_told_how_to() -> None:
    with pytest.raises(EquationError, match="h_0 is defined, but nothing reads it") as caught:
        Cell(r"h_0 = 0 \\ h_t = \tanh(W h_{t-1} + U x_t)")
    assert caught.value.hint == "write h<0> for the state before the first step"


def test_the_caret_stands_below_the_slip() -> None:
    with pytest.raises(EquationError) as caught:
        Cell(
            "\\begin{align}\nz_t &= W \\begin{bmatrix}\n h_{t-1} \\\\\n x_t\\end{bmatrix}, \\quad h_t = zz_t\n\\end{align}"
        )
    _, line, caret = str(caught.value).splitlines()[:3]
    assert line[caret.index("^") :] == "zz_t"


PRODUCTS = {
    r"z_t h_{t-1}": "z * h<t-1>",
    r"z_th_{t-1}": "z * h<t-1>",
    r"(1 - z_t) h_{t-1}": "(1 - z) * h<t-1>",
    r"2 z_t h_{t-1}": "2 * z * h<t-1>",
    r"z_t \tanh(h_{t-1})": "z * tanh(h<t-1>)",
    r"w_h h_{t-1} z_t": "w_h * h<t-1> * z",
    r"\tanh z_t \odot h_{t-1}": "tanh(z) * h<t-1>",
    r"\tanh z_t \sigma h_{t-1}": "tanh(z) * sigmoid(h<t-1>)",
    r"z_t \odot W_1 \cdot h_{t-1}": "z * W_1 h<t-1>",
    r"\frac{1}{2 z_t} h_{t-1}": "1 / (2 * z) * h<t-1>",
    r"z_t h_{t-1} / \exp(z_t)": "z * h<t-1> / exp(z)",
    r"W_1 x_t W_2 h_{t-1} + z_t": "(W_1 x) * (W_2 h<t-1>) + z",
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_of_papers_stay_products(product: str) -> None:
    pasted, meant = rf"z_t = \sigma(W x_t) \\ h_t = {product}", f"z = sigmoid(W x)\nh = {PRODUCTS[product]}"
    assert Cell(pasted, output="h") == Cell(meant, output="h")
