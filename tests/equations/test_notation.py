"""Both notations give the same cell: the lecture notes pasted as printed, and the styles of papers."""

from __future__ import annotations

import pytest

from elman.equations import Cell, OutputEquation
from elman.equations.rewrite import variational, zoneout
from elman.errors import EquationError

NOTES_RNN = r"""
- $a^{<0>} = \vec{0}$
- $a^{<t>} = g_1(W_{aa}a^{<t-1>} + W_{ax}x^{<t>} + b_a)$
- $\hat{y}^{<t>} = g_2(W_{ya}a^{<t>} + b_y)$
"""
NOTES_RNN_CONCATENATED = r"""
- $a^{<t>} = g_1(W_a[a^{<t-1>}, x^{<t>}] + b_a)$
- $[W_{aa} W_{ax}] = W_a$
"""
NOTES_GRU = r"""
- $\tilde{c}^{<t>} = \tanh(W_c[\Gamma_r * c^{<t-1>}, x^{<t>}] + b_c)$
- $\Gamma_u = \sigma(W_u[c^{<t-1>}, x^{<t>}] + b_u)$
- $\Gamma_r = \sigma(W_r[c^{<t-1>}, x^{<t>}] + b_r)$
- $c^{<t>} = \Gamma_u * \tilde{c}^{<t>} + (1 - \Gamma_u) * c^{<t-1>}$
"""
NOTES_LSTM = r"""
- $\tilde{c}^{<t>} = \tanh(W_c[a^{<t-1>}, x^{<t>}] + b_c)$
- $\Gamma_u = \sigma(W_u[a^{<t-1>}, x^{<t>}] + b_u)$
- $\Gamma_f = \sigma(W_f[a^{<t-1>}, x^{<t>}] + b_f)$
- $\Gamma_o = \sigma(W_o[c^{<t-1>}, x^{<t>}] + b_o)$
- $c^{<t>} = \Gamma_u * \tilde{c}^{<t>} + \Gamma_f * c^{<t-1>}$
- $a^{<t>} = \Gamma_o * \tanh c^{<t>}$
"""
NOTES_BIDIRECTIONAL = r"$$\cdot \hat{y}^{<t>} = g(W_y[\vec{a}^{<t>}, \overleftarrow{a}^{<t>}] + b_y)$$"

PLAIN_GRU = """
c~      = tanh(W_c [Gamma_r * c<t-1>, x] + b_c)
Gamma_u = sigmoid(W_u [c<t-1>, x] + b_u)
Gamma_r = sigmoid(W_r [c<t-1>, x] + b_r)
c<t>    = Gamma_u * c~ + (1 - Gamma_u) * c<t-1>
"""


def test_the_notes_rnn_has_its_start_and_its_output_equation() -> None:
    cell = Cell(NOTES_RNN)
    assert cell.states == ("a",)
    assert cell.starts == {"a": 0.0}
    assert cell == Cell("a = tanh(W_aa a<t-1> + W_ax x + b_a)\ny^ = softmax(W_ya a + b_y)\na<0> = 0")
    assert cell.head is not None
    assert cell.head.function == "softmax"
    assert cell.head.parameters(5, {"a": 3}) == {"W_ya": (5, 3), "b_y": (5,)}


def test_the_caller_binds_the_open_functions_of_the_notes() -> None:
    cell = Cell(NOTES_RNN, functions={"g_1": "relu", "g_2": "sigmoid"})
    assert "relu(" in cell.plain()
    assert cell.head is not None
    assert cell.head.function == "sigmoid"


def test_the_notes_concatenated_rnn_names_the_blocks_of_its_matrix() -> None:
    cell = Cell(NOTES_RNN_CONCATENATED)
    assert cell.block_names == {"W_a": ("W_aa", "W_ax")}
    assert cell.parameters(3, 4) == {"W_a": (4, 7), "b_a": (4,)}
    assert [(b.index, b.size, b.kind) for b in cell.parameter_blocks("W_a")] == [(0, "H", "state"), (1, "I", "input")]


def test_the_notes_gru_equals_its_plain_form() -> None:
    assert Cell(NOTES_GRU) == Cell(PLAIN_GRU)
    assert [e.name for e in Cell(NOTES_GRU).forward_equations] == ["Gamma_u", "Gamma_r", "c~", "c"]


def test_the_notes_lstm_lets_the_output_gate_read_the_old_memory() -> None:
    cell = Cell(NOTES_LSTM)
    assert cell.states == ("c", "a")
    assert cell.output == "a"
    assert "Gamma_o = sigmoid(W_o [c<t-1>, x] + b_o)" in cell.plain()


def test_an_output_equation_alone_is_no_cell_and_the_hint_reads_it() -> None:
    with pytest.raises(EquationError, match=r"OutputEquation\.parse\(text\)"):
        Cell(NOTES_BIDIRECTIONAL)


def test_the_bidirectional_output_equation_reads_both_directions() -> None:
    head = OutputEquation.parse(NOTES_BIDIRECTIONAL)
    assert head.bidirectional
    assert head.reads == ("a>", "a<")
    assert head.function == "softmax"
    assert head.parameters(2, {"a": 3}) == {"W_y": (2, 6), "b_y": (2,)}
    both = Cell(NOTES_RNN_CONCATENATED + NOTES_BIDIRECTIONAL)
    assert both.head is not None
    assert both.head.bidirectional
    assert both.head.function == "softmax", "an open g of a prediction is a softmax"


REFERENCE = Cell("h = tanh(W_x x + U_h h<t-1> + b_h)")


@pytest.mark.parametrize(
    "text",
    [
        r"h_t = \tanh(W_x x_t + U_h h_{t-1} + b_h)",
        r"\mathbf{h}_t = \mathrm{tanh}\left( \mathbf{W}_x \mathbf{x}_t + \mathbf{U}_h \mathbf{h}_{t-1} + \mathbf{b}_h \right)",
        r"\begin{align} h^{(t)} &= \tanh(W_{x} x^{(t)} + U_{h} h^{(t-1)} + b_{h}) \end{align}",
        r"$$h_{\langle t \rangle} = \tanh(W_x x_{\langle t \rangle} + U_h h_{\langle t-1 \rangle} + b_h),$$",
        r"h^{\langle t\rangle} = \tanh\big( W_x\, x^{\langle t\rangle} + U_h\; h^{\langle t-1\rangle} + b_h \big).",
        r"h_n = \operatorname{tanh}(W_x x_n + U_h h_{n-1} + b_h)",
        r"h_{k+1} = \tanh(W_x x_k + U_h h_k + b_h)",
        r"h_{t+1} = \tanh(W_x x_{t+1} + U_h h_t + b_h)",
        r"\begin{equation}\label{eq:h} \bm{h}_t = \tanh (W_x x_t + U_h h_{t-1} \quad % the recurrence"
        + "\n + b_h) \\end{equation}",
        "h_t = tanh(W_x x_t + U_h h_{t-1} + b_h)",
        "h_t = tanh(W_x x_t + U_h h_t-1 + b_h)   # in words of a program",
        "h<t> = tanh(W_x x<t> + U_h h<t-1> + b_h)",
        "h = tanh(x W_x + h<t-1> U_h + b_h)",
        "1. h<k> = tanh(W_x x<k> + U_h h<k-1> + b_h);",
    ],
)
def test_styles_of_papers_mean_the_same_cell(text: str) -> None:
    assert Cell(text) == REFERENCE


@pytest.mark.parametrize("sign", [r"\odot", r"\circ", r"\cdot", r"\times", r"\ast", "*", "⊙", "∘"])
def test_signs_of_the_elementwise_product(sign: str) -> None:
    assert Cell(rf"h_t = \sigma(z_t) {sign} h_{{t-1}} \\ z_t = W x_t", output="h") == Cell(
        "h = sigmoid(z) * h<t-1>\nz = W x", output="h"
    )


@pytest.mark.parametrize("minus", ["−", "–"])
def test_a_minus_of_print_is_a_minus_of_times_too(minus: str) -> None:
    for text in ("h_t = σ(W h_{t-1} - U x_t)", r"h_t = \sigma(W h_{t-1} - U x_t)", "h<t> = sigmoid(W h<t-1> - U x)"):
        assert Cell(text.replace("-", minus)) == Cell("h = sigmoid(W h<t-1> - U x)")


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "ReLU", "Relu", "RELU", "Softplus", "ELU", "SiLU", "GELU"])
def test_activations_are_known_by_the_names_of_papers_and_programs(name: str) -> None:
    meant = Cell(f"h = {name.lower()}(W h<t-1> + U x)")
    assert Cell(f"h = {name}(W h<t-1> + U x)") == meant  # Relu(...) is no product with a matrix called Relu
    assert Cell(rf"h_t = \mathrm{{{name}}}(W h_{{t-1}} + U x_t)") == meant


def test_the_input_and_the_index_are_inferred() -> None:
    cell = Cell(r"s_n = \sigma(U u_n + W s_{n-1})")
    assert cell.input == "u"
    assert cell.states == ("s",)
    assert Cell("s<n> = tanh(W s<n-1> + U z<n>)").input == "z"


def test_subscripts_keep_their_letters_in_names() -> None:
    cell = Cell(
        r"i_t = \sigma(W_{xi} x_t + W_{hi} h_{t-1} + b_i) \\ h_t = i_t \odot h_{t-1} + (1 - i_t) \odot \tilde{h}_t \\ \tilde{h}_t = \tanh(W_{xh} x_t)"
    )
    assert list(cell.parameters(2, 3)) == ["W_xi", "W_hi", "b_i", "W_xh"]


def test_signs_in_subscripts_tell_names_apart() -> None:
    cell = Cell(
        r"h_t = \tanh(W_{+} h_{t-1} + W_{-} x_t + W_{x'} x_t + W_x x_t + W^{*} x_t + W x_t + V_{\text{in-gate}} x_t)"
    )
    assert list(cell.parameters(2, 2)) == ["W_plus", "W_minus", "W_xprime", "W_x", "W_star", "W", "V_ingate"]
    assert Cell(cell.plain()) == Cell(cell.latex()) == cell


def test_numbers_of_a_subscript_stay_apart() -> None:
    cell = Cell(r"h_t = \tanh(W_{1,12} h_{t-1} + W_{11,2} x_t + W_{1,2} x_t)")
    assert list(cell.parameters(2, 2)) == ["W_1_12", "W_11_2", "W_12"]
    assert Cell(cell.plain()) == Cell(cell.latex()) == cell


def test_an_accent_stands_last_in_the_name_of_a_letter_with_a_subscript() -> None:
    cell = Cell(
        r"\tilde{c}_{u,t} = \tanh(W x_t + U h_{t-1}) \\ h_t = \tilde{c}_{u,t} + \vec{z}^{(1)}_{t-1} \\ \vec{z}^{(1)}_t = h_t"
    )
    assert {e.name for e in cell.forward_equations} == {"c_u~", "h", "z_1>"}
    assert cell == Cell(cell.plain()) == Cell(cell.latex())
    assert zoneout(cell).masks == ("zoneout_h", "zoneout_z_1>")


def test_digits_and_words_in_a_font_tell_names_apart() -> None:
    cell = Cell(r"h_t = \tanh(\mathrm{W1} x_t + \mathrm{W2} h_{t-1} + \mathrm{p1} \odot h_{t-1})")
    assert list(cell.parameters(2, 3)) == ["W1", "W2", "p1"]
    assert cell == Cell(cell.plain()) == Cell(cell.latex())
    named = r"\text{new state}_t = \tanh(W x_t + \tilde{h1}_t) \\ \tilde{h1}_t = U h_{t-1} \\ h_t = \text{new state}_t"
    assert {e.name for e in Cell(named).forward_equations} == {"newstate", "h1~", "h"}
    assert Cell(Cell(named).latex()) == Cell(named)


def test_latex_keeps_declared_sizes() -> None:
    cell = Cell("size: h = P\nc = tanh(W [h<t-1>, x])\nh = V c")
    assert Cell(cell.latex()) == cell


def test_the_time_may_stand_before_another_subscript() -> None:
    assert Cell(r"h_{t,i} = \tanh(W x_{t,i} + U h_{t-1,i})") == Cell(r"h_{i,t} = \tanh(W x_{i,t} + U h_{i,t-1})")


def test_a_bias_called_n_is_no_time() -> None:
    assert "b_n" in Cell("h<n> = tanh(W h<n-1> + U x<n> + b_n)").parameters(2, 3)
    assert "b_t" in Cell("h_t = tanh(W h_{t-1} + U x_t + b_t)").parameters(2, 3)


def test_a_gate_called_n_does_not_end_a_name() -> None:
    cell = Cell("n = tanh(W_n_x x_t + W_n_h h_t-1 + b_n_1)\nh_t = n + h_t-1")
    assert list(cell.parameters(2, 3)) == ["W_n_x", "W_n_h", "b_n_1"]
    assert cell == Cell(r"n_t = \tanh(W_{n,x} x_t + W_{n,h} h_{t-1} + b_{n\_1}) \\ h_t = n_t + h_{t-1}")
    assert cell == Cell(cell.plain()) == Cell(cell.latex())


def test_a_value_called_d_is_no_derivative_in_print() -> None:
    cell = Cell("d_1 = tanh(W x)\nh = d_1 * h<t-1>")
    assert cell == Cell(cell.plain()) == Cell(cell.latex())
    assert cell.backward_plain().splitlines()[0] == "dd_h<t-1>  = dd_h * d_1"
    assert r"\delta h^{<t-1>} &= \delta h^{<t>} * d_{1}^{<t>}" in cell.backward_latex()


def test_fractions_roots_and_constants() -> None:
    cell = Cell(r"h_t = \frac{1}{2} h_{t-1} + \sqrt{\sigma(W x_t)} - \gamma \odot h_{t-1}" + "\n" + r"\gamma = 0.25")
    assert cell == Cell("h = 1 / 2 * h<t-1> + sqrt(sigmoid(W x)) - gamma * h<t-1>\ngamma = 0.25")


def test_a_sum_goes_on_in_the_next_line() -> None:
    assert Cell("h = tanh(W_x x\n + U_h h<t-1>\n + b_h)") == REFERENCE


def test_a_minus_at_the_start_of_a_line_is_no_bullet() -> None:
    meant = Cell("h = tanh(W_x x) - 0.5 * h<t-1>")
    assert Cell("h = tanh(W_x x)\n  - 0.5 * h<t-1>") == meant
    assert Cell("- h = tanh(W_x x) -\n 0.5 * h<t-1>") == meant
    assert Cell("\\begin{align} h_t &= \\tanh(W_x x_t) \\\\\n  &\\quad - 0.5 h_{t-1} \\end{align}") == meant


def test_declared_sizes_make_a_projection() -> None:
    cell = Cell("size: h = P\nc = tanh(W [h<t-1>, x] + b)\nh = V c", output="h")
    assert cell.parameters(3, 4, {"P": 2}) == {"W": (4, 5), "b": (4,), "V": (2, 4)}
    assert cell.output_size(3, 4, {"P": 2}) == 2


def test_a_transposed_matrix_is_the_same_parameter() -> None:
    cell = Cell(r"h_t = h_{t-1} + \tanh(W h_{t-1} - W^\top h_{t-1} + V x_t)")
    assert list(cell.parameters(2, 3)) == ["W", "V"]
    assert cell == Cell("h = h<t-1> + tanh(W h<t-1> - W^T h<t-1> + V x)")


def test_rows_are_columns_transposed() -> None:
    torch_manual = r"h_t = \tanh(x_t W_{ih}^T + b_{ih} + h_{t-1}W_{hh}^T + b_{hh})"
    assert Cell(torch_manual) == Cell("h = tanh(W_ih x + b_ih + W_hh h<t-1> + b_hh)")
    both = Cell("h = tanh(W h<t-1> + U x) + h<t-1> W")
    assert both == Cell("h = tanh(W h<t-1> + U x) + W^T h<t-1>")


def test_a_transposed_matrix_before_a_list_is_kept_the_other_way_round() -> None:
    assert Cell(r"h_t = \tanh(W^\top [h_{t-1}, x_t] + b)") == Cell("h = tanh(W [h<t-1>, x] + b)")
    assert Cell("h = tanh(W^T [h<t-1>, x]) + W^T [x, h<t-1>]").parameters(3, 3) == {"W": (3, 6)}
    with pytest.raises(EquationError, match="W multiplies a list transposed, and something else as it is"):
        Cell("h = tanh(W^T [h<t-1>, x]) + W x")


NAMES = ["z", "c~", "c^", r"h>", "h<", "b", "R", "h_t_a", "Gamma_u"]
"""Names that are read as something else where their time, or what follows them, does not say what they are."""


@pytest.mark.parametrize(
    "mark", ["{0}<t> = {0}<t-1> + W x", "h = W h<t-1> + U {0}<t>", "{0}<t> = W x\nh = h<t-1> + {0}"]
)
@pytest.mark.parametrize("name", NAMES)
def test_unusual_names_are_printed_so_that_they_read_back(name: str, mark: str) -> None:
    cell = Cell(mark.format(name) + f"\no<t> = tanh({name}<t>) * {name}<t>", output="o")
    assert any(name in (e.name, cell.input) for e in cell.forward_equations)
    for rewritten in (cell, zoneout(cell), variational(cell)):
        assert Cell(rewritten.plain(), output="o", masks=rewritten.masks) == rewritten
    assert Cell(cell.latex(), output="o") == cell


def test_zoneout_keeps_apart_what_a_paper_calls_the_new_value() -> None:
    cell = zoneout(Cell("h_new = tanh(W h<t-1> + U x)\nh = 0.5 * h<t-1> + h_new"))
    assert "h_new_new = 0.5 * h<t-1> + h_new" in cell.plain()


def test_both_directions_are_read_in_the_plain_notation() -> None:
    both = Cell(NOTES_RNN_CONCATENATED + NOTES_BIDIRECTIONAL)
    again = Cell(both.plain())
    assert again == both and again.head is not None
    assert again.head.reads == ("a>", "a<")
    assert OutputEquation.parse("y^ = softmax(W_y [a<, a>])").reads == ("a<", "a>")


def test_an_arrow_over_every_vector_is_no_direction() -> None:
    cell = Cell(r"\vec{h}_t = \tanh(W \vec{x}_t + U \vec{h}_{t-1})")
    assert (cell.states, cell.input) == (("h>",), "x>")
    assert Cell(cell.plain()) == cell


@pytest.mark.parametrize("text", [NOTES_RNN, NOTES_RNN_CONCATENATED, NOTES_GRU, NOTES_LSTM, REFERENCE.text])
def test_what_is_printed_parses_to_the_same_cell(text: str) -> None:
    cell = Cell(text)
    assert Cell(cell.plain()) == cell
    assert Cell(cell.latex()) == cell


ERRORS = {
    "h = tanh(W h<t-1> + U x + bias)": "line 1: unknown name 'bias'\n    h = tanh(W h<t-1> + U x + bias)\n                              ^",
    "h = tanh(W h<t-1> + U x) * gate\ngates = sigmoid(V x)": "unknown name 'gate'; did you mean 'gates'?",
    "h = tanh(W h<t-1> + U x": "the equation must go on here; it ends too early",
    "h = tanh(W h<t-1> + U x))": "got the text ')'",
    "h tanh(W x)": "an equation must have the form 'name = expression'; got no '='",
    "h = tanh(W c<t-1> + U x)": "c<t-1> is read, but no line defines c: the state is never updated",
    "h = tanh(W x + b)": "a recurrent cell must read a value of the step before",
    "a = tanh(W h + U x)\nh = a * h\nc = c<t-1> + a": "a cycle within one step: a <- h <- a",
    "h = h<t-1> + W x\nh = tanh(h<t-1>)": "'h' must be defined once; line 1 defines it already",
    "W_h = h<t-1> + U x": "'W_h' is reserved and cannot be defined by a line",
    "tanh = h<t-1> + U x": "'tanh' is reserved and cannot be defined by a line",
    "h = tahn(W h<t-1> + U x)": "unknown function 'tahn'; did you mean 'tanh'?",
    "h = h<t-1> z\nz = W x": "two vectors stand side by side with no operator between them",
    "h = h<t-2> + W x": "a step may read the step before only; got an offset of -2",
    "h = tanh(W x + V x<t-1> + U h<t-1>)": "the input x must be read at one step; it is read at two",
    r"h_t = \tanh(W z_t + V z_{t-1} + U h_{t-1})": "the input z must be read at one step",
    r"h_{t+1} = \tanh(W x_t + V x_{t+1} + U h_t)": "the input x must be read at one step",
    "h = tanh(W x + V x<t+1> + U h<t-1>)": "x is read 1 step later",
    "h = tanh(W x + U h<t-1>)\ny = V h<t+1>": "h is read 1 step later",
    r"h_{t+1} = \tanh(W x_t + U h_t + V c_{t-1}) \\ c_{t+1} = h_{t+1} + c_t": "c is read 2 steps before",
    "h<t> = h<k-1> + W x<t>": "one letter must stand for time; got k, t",
    "h = W h<t-1> + x^2": "powers are not an operator of cells; got",
    r"h_t = \tanh(\sum_j W_{ij} h_{t-1,j} + U x_t)": "a sum over an index must be written as a product with a matrix",
    r"h_t = W^{-1} h_{t-1} + W x_t": "the inverse W^-1 is not an operator of cells",
    "h = W + h<t-1> + U x": "the matrix W must be followed by the vector it multiplies",
    "h = W [h<t-1>, x] + W x": "size mismatch: W multiplies 1 vector(s) here and 2 elsewhere",
    "size: h = P\nsize: c = Q\nc = h<t-1> + U x\nh = c": "size mismatch",
    "h = max(h<t-1>) + W x": "max takes 2 arguments; got 1",
    "h = step(h<t-1>) + W x": "the function 'step' appears in derived equations only",
    "h = tanh(W h<t-1> + U x)\nz = sigmoid(V x)\nk = tanh(z)": "k is defined, but nothing reads it",
    "g = 0.5\nk = 2 * g\nh = tanh(W k + U x + h<t-1>)": "line 3: size mismatch: W must multiply a vector; got a number",
    "g = 0.5\nh = tanh(layer_norm(2 * g) * h<t-1> + U x)": "line 2: layer_norm must take a vector; got a number",
    "h = tanh(W h<t-1> + U x + s<t-1>)\nv = 2\ns = 0.5 * v": "line 3: s must be a vector, for it is a state; got a number",
    "h = softmax(W h<t-1> + U x)": "softmax may end an output equation",
    "y^ = softmax(W_y a + b_y)": "unknown name 'a'",
    "h = tanh(W h<t-1> + U ☃)": "got the character '☃'",
    "": "at least one line with '=' must be given; got none",
    "h = h<t-1> * x y\n": "unknown name 'y'",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_show_the_place_and_the_remedy(text: str) -> None:
    with pytest.raises(EquationError) as caught:
        Cell(text)
    assert ERRORS[text] in str(caught.value)


@pytest.mark.parametrize("text", [t for t in ERRORS if t])
def test_every_error_has_a_hint_or_a_suggestion(text: str) -> None:
    with pytest.raises(EquationError) as caught:
        Cell(text)
    assert caught.value.hint or "did you mean" in str(caught.value) or "takes" in str(caught.value)


def test_a_line_may_name_the_cell() -> None:
    cell = Cell("name: mine\nh = tanh(W_x x + U_h h<t-1> + b_h)")
    assert cell.name == "mine" and cell == REFERENCE
    assert Cell("name: mine\n" + r"h_t = \tanh(W_x x_t + U_h h_{t-1} + b_h)").name == "mine"
    assert Cell(cell.text, name="other").name == "other"
    with pytest.raises(EquationError, match="line 2: unknown name 'bias'"):
        Cell("name: mine\nh = tanh(U h<t-1> + W x + bias)")
