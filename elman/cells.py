"""The catalogue: recurrent units as their equations, with initialisation and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elman.equations import Cell
from elman.errors import UsageError, nearest


class Catalogue(Mapping[str, Cell]):
    """Cells by name; a wrong name is answered with the nearest."""

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}

    def add(
        self,
        name: str,
        text: str,
        *,
        source: str,
        init: Mapping[str, str | float] | None = None,
        output: str | None = None,
    ) -> None:
        """Add a cell.

        Args:
            name: Its name, with the variant in it where several exist.
            text: Its equations in the plain notation.
            source: Paper and equation numbers; deviations are said here.
            init: Initialiser or number by parameter, where the paper states one.
            output: Name of the output where it is not the last state.
        """
        self._cells[name] = Cell(text, name=name, source=source, init=init, output=output)

    def __getitem__(self, name: str) -> Cell:
        if name not in self._cells:
            known = ", ".join(sorted(self._cells))
            raise UsageError(f"cell: unknown name {name!r}{nearest(str(name), self._cells)}", f"known cells: {known}")
        return self._cells[name]

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


cells = Catalogue()

# ---- Simple recurrent networks

# The simple recurrent network.
cells.add(
    "rnn",
    "h = tanh(W_h h<t-1> + W_x x + b)",
    source="Elman 1990, Finding structure in time; the notes' vanilla RNN",
)

# Starts as a sum of what it read: a rectifier with the identity as recurrent matrix.
cells.add(
    "rnn_relu",
    "h = relu(W_h h<t-1> + W_x x + b)",
    init={"W_h": "identity"},
    source="Le, Jaitly, Hinton 2015, A simple way to initialize recurrent networks of rectified linear units (IRNN)",
)

# Normalises what enters the nonlinearity at each step; gain w_g and bias b.
cells.add(
    "rnn_layer_norm",
    "h = tanh(w_g * layer_norm(W_h h<t-1> + W_x x) + b)",
    init={"w_g": "ones"},
    source="Ba, Kiros, Hinton 2016, Layer normalization, equation 4",
)

# Input and state meet in a product instead of a sum.
cells.add(
    "rnn_multiplicative",
    """
    a    = W_x x
    d    = W_h h<t-1>
    h<t> = tanh(w_a * a * d + w_x * a + w_h * d + b)
    """,
    init={"w_a": "ones", "w_x": 0.5, "w_h": 0.5},
    source="Wu et al. 2016, On multiplicative integration with recurrent neural networks, the general form",
)

# What is fed back is the output, not the hidden layer.
cells.add(
    "jordan",
    """
    h    = tanh(W_h y<t-1> + W_x x + b_h)
    y<t> = tanh(W_y h + b_y)
    """,
    source="Jordan 1986, Serial order: a parallel distributed processing approach; the output has the hidden size, "
    "the plan of the paper is the input",
)

# A residual connection with fixed small weight on the new value.
cells.add(
    "fast_rnn",
    """
    alpha = 0.05
    h<t> = alpha * tanh(W x + U h<t-1> + b) + (1 - alpha) * h<t-1>
    """,
    source="Kusupati et al. 2018, FastGRNN, section 3.1, with fixed weights alpha and 1 - alpha",
)

# ---- Gated recurrent units, as they are and with parts taken away

# Two gates: r hides parts of the state from the new value, u says how much of the new value enters.
cells.add(
    "gru",
    """
    u    = sigmoid(W_u [c<t-1>, x] + b_u)
    r    = sigmoid(W_r [c<t-1>, x] + b_r)
    c~   = tanh(W_c [r * c<t-1>, x] + b_c)
    c<t> = u * c~ + (1 - u) * c<t-1>
    """,
    source="Cho et al. 2014, arXiv 1406.1078, equations 5 to 8, but for u, which weighs the new value as in the notes",
)

# The reset gate acts after the product, so all products of a step read the same vector.
cells.add(
    "gru_reset_after",
    """
    r    = sigmoid(W_r x + b_r + R_r h<t-1> + b_hr)
    z    = sigmoid(W_z x + b_z + R_z h<t-1> + b_hz)
    n    = tanh(W_n x + b_n + r * (R_n h<t-1> + b_hn))
    h<t> = (1 - z) * n + z * h<t-1>
    """,
    source="the variant of cuDNN and torch.nn.GRU: reset after the product, two biases",
)

# Both halves of every gate normalised.
cells.add(
    "gru_layer_norm",
    """
    r    = sigmoid(w_r * layer_norm(W_r x) + w_hr * layer_norm(R_r h<t-1>) + b_r)
    z    = sigmoid(w_z * layer_norm(W_z x) + w_hz * layer_norm(R_z h<t-1>) + b_z)
    n    = tanh(w_n * layer_norm(W_n x) + b_n + r * (w_hn * layer_norm(R_n h<t-1>) + b_hn))
    h<t> = (1 - z) * h<t-1> + z * n
    """,
    init={"w_r": "ones", "w_hr": "ones", "w_z": "ones", "w_hz": "ones", "w_n": "ones", "w_hn": "ones"},
    source="Ba, Kiros, Hinton 2016, Layer normalization, supplementary material; each gate normalised by itself",
)

# Without an update gate nothing carries the state through time unchanged.
cells.add(
    "gru_no_update",
    """
    r    = sigmoid(W_r [c<t-1>, x] + b_r)
    c<t> = tanh(W_c [r * c<t-1>, x] + b_c)
    """,
    source="the notes' quiz 8, Alice: the GRU with its update gate always 1",
)

# The update gate alone suffices to keep a state over long lags.
cells.add(
    "gru_no_reset",
    """
    u    = sigmoid(W_u [c<t-1>, x] + b_u)
    c~   = tanh(W_c [c<t-1>, x] + b_c)
    c<t> = u * c~ + (1 - u) * c<t-1>
    """,
    source="the notes' quiz 8, Betty: the GRU with its reset gate always 1",
)

# ---- Long short-term memories

# A memory c that gates write, keep and read.
cells.add(
    "lstm",
    """
    i    = sigmoid(W_i [h<t-1>, x] + b_i)
    f    = sigmoid(W_f [h<t-1>, x] + b_f)
    g    = tanh(W_g [h<t-1>, x] + b_g)
    o    = sigmoid(W_o [h<t-1>, x] + b_o)
    c<t> = f * c<t-1> + i * g
    h<t> = o * tanh(c)
    """,
    init={"b_f": 1.0},
    source="Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000, its bias 1 as in Jozefowicz et al. 2015",
)

# One letter differs from the usual one, and with it which state the output gate sees.
cells.add(
    "lstm_notes",
    """
    c~   = tanh(W_c [a<t-1>, x] + b_c)
    u    = sigmoid(W_u [a<t-1>, x] + b_u)
    f    = sigmoid(W_f [a<t-1>, x] + b_f)
    o    = sigmoid(W_o [c<t-1>, x] + b_o)
    c<t> = u * c~ + f * c<t-1>
    a<t> = o * tanh(c)
    """,
    init={"b_f": 1.0},
    source="the notes' LSTM as printed: the output gate reads c<t-1> where the usual one reads a<t-1>",
)

# The memory is only added to; it never forgets.
cells.add(
    "lstm_original",
    """
    i    = sigmoid(W_i [h<t-1>, x] + b_i)
    g    = tanh(W_g [h<t-1>, x] + b_g)
    o    = sigmoid(W_o [h<t-1>, x] + b_o)
    c<t> = c<t-1> + i * g
    h<t> = o * tanh(c)
    """,
    source="Hochreiter and Schmidhuber 1997, Long short-term memory: no forget gate; tanh for both squashing functions",
)

# Gates see the memory itself, component by component; the output gate sees the new one.
cells.add(
    "lstm_peephole",
    """
    i    = sigmoid(W_i [h<t-1>, x] + p_i * c<t-1> + b_i)
    f    = sigmoid(W_f [h<t-1>, x] + p_f * c<t-1> + b_f)
    c<t> = f * c<t-1> + i * tanh(W_g [h<t-1>, x] + b_g)
    o    = sigmoid(W_o [h<t-1>, x] + p_o * c + b_o)
    h<t> = o * tanh(c)
    """,
    init={"b_f": 1.0, "p_i": "zeros", "p_f": "zeros", "p_o": "zeros"},
    output="h",
    source="Gers, Schraudolph, Schmidhuber 2002; Graves 2013, arXiv 1308.0850, equations 7 to 11, diagonal peepholes",
)

# What is forgotten is what makes room: one gate fewer.
cells.add(
    "lstm_coupled",
    """
    f    = sigmoid(W_f [h<t-1>, x] + b_f)
    g    = tanh(W_g [h<t-1>, x] + b_g)
    o    = sigmoid(W_o [h<t-1>, x] + b_o)
    c<t> = f * c<t-1> + (1 - f) * g
    h<t> = o * tanh(c)
    """,
    init={"b_f": 1.0},
    source="Greff et al. 2017, LSTM: a search space odyssey, variant CIFG, without its peepholes",
)

# A wide memory, a narrow output: the recurrent products cost less.
cells.add(
    "lstm_projected",
    """
    size: h = P
    i    = sigmoid(W_i [h<t-1>, x] + b_i)
    f    = sigmoid(W_f [h<t-1>, x] + b_f)
    g    = tanh(W_g [h<t-1>, x] + b_g)
    o    = sigmoid(W_o [h<t-1>, x] + b_o)
    c<t> = f * c<t-1> + i * g
    h<t> = V_h (o * tanh(c))
    """,
    init={"b_f": 1.0},
    source="Sak, Senior, Beaufays 2014, arXiv 1402.1128, without peepholes; torch.nn.LSTM's proj_size",
)

# Every gate, and the memory where it is read, normalised.
cells.add(
    "lstm_layer_norm",
    """
    i    = sigmoid(w_i * layer_norm(W_i x) + w_hi * layer_norm(R_i h<t-1>) + b_i)
    f    = sigmoid(w_f * layer_norm(W_f x) + w_hf * layer_norm(R_f h<t-1>) + b_f)
    g    = tanh(w_g * layer_norm(W_g x) + w_hg * layer_norm(R_g h<t-1>) + b_g)
    o    = sigmoid(w_o * layer_norm(W_o x) + w_ho * layer_norm(R_o h<t-1>) + b_o)
    c<t> = f * c<t-1> + i * g
    h<t> = o * tanh(w_c * layer_norm(c) + b_c)
    """,
    init={
        "b_f": 1.0,
        "w_i": "ones",
        "w_hi": "ones",
        "w_f": "ones",
        "w_hf": "ones",
        "w_g": "ones",
        "w_hg": "ones",
        "w_o": "ones",
        "w_ho": "ones",
        "w_c": "ones",
    },
    source="Ba, Kiros, Hinton 2016, Layer normalization, equations 20 to 22; each gate normalised by itself",
)

# Each input picks its own recurrent matrix, diag(W_m x) R_m.
cells.add(
    "lstm_multiplicative",
    """
    m    = (W_m x) * (R_m h<t-1>)
    i    = sigmoid(W_i [m, x] + b_i)
    f    = sigmoid(W_f [m, x] + b_f)
    g    = tanh(W_g [m, x] + b_g)
    o    = sigmoid(W_o [m, x] + b_o)
    c<t> = f * c<t-1> + i * g
    h<t> = o * tanh(c)
    """,
    init={"b_f": 1.0},
    output="h",
    source="Krause et al. 2016, Multiplicative LSTM for sequence modelling",
)

# ---- Fewer gates, other gates

# The GRU with one gate for both of its purposes.
cells.add(
    "mgu",
    """
    f    = sigmoid(W_f [h<t-1>, x] + b_f)
    h~   = tanh(W_h [f * h<t-1>, x] + b_h)
    h<t> = (1 - f) * h<t-1> + f * h~
    """,
    source="Zhou et al. 2016, Minimal gated unit for recurrent neural networks, equations 6",
)

# The LSTM with the forget gate only.
cells.add(
    "janet",
    """
    s    = W_f [h<t-1>, x] + b_f
    c~   = tanh(W_c [h<t-1>, x] + b_c)
    h<t> = sigmoid(s) * h<t-1> + (1 - sigmoid(s - 1)) * c~
    """,
    init={"b_f": 1.0},
    source="van der Westhuizen and Lasenby 2018, The unreasonable effectiveness of the forget gate, "
    "equations 4, beta = 1",
)

# The least gated unit: one gate between keeping and renewing.
cells.add(
    "ugrnn",
    """
    g    = sigmoid(W_g [h<t-1>, x] + b_g)
    c    = tanh(W_c [h<t-1>, x] + b_c)
    h<t> = g * h<t-1> + (1 - g) * c
    """,
    init={"b_g": 1.0},
    source="Collins, Sohl-Dickstein, Sussillo 2017, Capacity and trainability in recurrent neural networks, UGRNN",
)

# For speech: no reset gate, a rectifier as candidate. Batch norm reaches across sequences, so no step can hold it.
cells.add(
    "li_gru",
    """
    z    = sigmoid(w_z * layer_norm(W_z x) + R_z h<t-1> + b_z)
    h~   = relu(w_h * layer_norm(W_h x) + R_h h<t-1> + b_h)
    h<t> = z * h<t-1> + (1 - z) * h~
    """,
    init={"w_z": "ones", "w_h": "ones"},
    source="Ravanelli et al. 2018, Light gated recurrent units for speech recognition; layer_norm in place "
    "of batch norm",
)

# Gate and candidate share their matrices.
cells.add(
    "fast_grnn",
    """
    a    = W x + U h<t-1>
    z    = sigmoid(a + b_z)
    h~   = tanh(a + b_h)
    h<t> = (1 - z) * h~ + z * h<t-1>
    """,
    source="Kusupati et al. 2018, FastGRNN, section 3.2, with zeta = 1 and nu = 0",
)

# The input is embedded once; the state is a gated average of embeddings.
cells.add(
    "minimal_rnn",
    """
    v    = tanh(W_x x + b_x)
    u    = sigmoid(U_h h<t-1> + U_z v + b_u)
    h<t> = u * h<t-1> + (1 - u) * v
    """,
    source="Chen 2017, MinimalRNN: toward more interpretable and trainable recurrent neural networks, equations 4 to 6",
)

# One gate, no reset, made so that gradients keep their size through many layers.
cells.add(
    "star",
    """
    z    = tanh(W_z x + b_z)
    k    = sigmoid(W_x x + W_h h<t-1> + b_k)
    h<t> = tanh((1 - k) * h<t-1> + k * z)
    """,
    source="Turkoglu et al. 2021, Gating revisited: deep multi-layer RNNs that can be trained",
)

# Both gates from the same two products, their sum and their difference.
cells.add(
    "atr",
    """
    a    = W_x x
    q    = W_h h<t-1>
    i    = sigmoid(a + q)
    f    = sigmoid(a - q)
    h<t> = i * a + f * h<t-1>
    """,
    source="Zhang et al. 2018, Simplifying neural machine translation with addition-subtraction twin-gated "
    "recurrent networks",
)

# Memory as a weighted sum of inputs: no nonlinearity between them.
cells.add(
    "ran",
    """
    i    = sigmoid(W_i [h<t-1>, x] + b_i)
    f    = sigmoid(W_f [h<t-1>, x] + b_f)
    c<t> = i * (W_c x) + f * c<t-1>
    h<t> = tanh(c)
    """,
    init={"b_f": 1.0},
    output="h",
    source="Lee, Levy, Zettlemoyer 2017, Recurrent additive networks, equations 1",
)

# Without input every component relaxes to zero: no chaos.
cells.add(
    "cfn",
    """
    z    = sigmoid(W_z [h<t-1>, x] + b_z)
    i    = sigmoid(W_i [h<t-1>, x] + b_i)
    h<t> = z * tanh(h<t-1>) + i * tanh(W_h x)
    """,
    init={"b_z": 1.0, "b_i": -1.0},
    source="Laurent and von Brecht 2017, A recurrent neural network without chaos, equations 1",
)

# Two highway layers within each step.
cells.add(
    "rhn",
    """
    v    = tanh(W_v x + R_v s<t-1> + b_v)
    k    = sigmoid(W_k x + R_k s<t-1> + b_k)
    m    = k * v + (1 - k) * s<t-1>
    q    = tanh(U_q m + b_q)
    z    = sigmoid(U_z m + b_z)
    s<t> = z * q + (1 - z) * m
    """,
    init={"b_k": -2.0, "b_z": -2.0},
    source="Zilly et al. 2017, Recurrent highway networks, depth 2, carry gate coupled to the transform gate",
)

# With a above 1 a component has two resting points, so it holds a bit for any time.
cells.add(
    "brc",
    """
    a    = 1 + tanh(U_a x + w_a * h<t-1>)
    c    = sigmoid(U_c x + w_c * h<t-1>)
    h<t> = c * h<t-1> + (1 - c) * tanh(U x + a * h<t-1>)
    """,
    source="Vecoven, Ernst, Drion 2021, A bio-inspired bistable recurrent cell allows for long-lasting memory",
)

# The gates see the whole state.
cells.add(
    "nbrc",
    """
    a    = 1 + tanh(U_a x + W_a h<t-1>)
    c    = sigmoid(U_c x + W_c h<t-1>)
    h<t> = c * h<t-1> + (1 - c) * tanh(U x + a * h<t-1>)
    """,
    source="Vecoven, Ernst, Drion 2021, the recurrently neuromodulated form of brc",
)

# ---- No matrix between the steps: each component of the state by itself

# Every unit sees only itself; mixing is left to the layers above. Recurrent weights of 1 remember.
cells.add(
    "indrnn",
    "h = relu(W x + w_h * h<t-1> + b)",
    init={"w_h": 1.0},
    source="Li et al. 2018, Independently recurrent neural network (IndRNN), equation 2",
)

# Gates read the input only, so that all steps could be computed at once.
cells.add(
    "min_gru",
    """
    z    = sigmoid(W_z x + b_z)
    h~   = W_h x + b_h
    h<t> = (1 - z) * h<t-1> + z * h~
    """,
    source="Feng et al. 2024, Were RNNs all we needed?, section 3.1",
)

# The two gates are normalised to sum to one.
cells.add(
    "min_lstm",
    """
    f    = sigmoid(W_f x + b_f)
    i    = sigmoid(W_i x + b_i)
    h~   = W_h x + b_h
    h<t> = f / (f + i) * h<t-1> + i / (f + i) * h~
    """,
    init={"b_f": 1.0},
    source="Feng et al. 2024, Were RNNs all we needed?, section 3.2, with normalised gates",
)

# Gates see their own memory component only; products of the input are all there is to multiply.
cells.add(
    "sru",
    """
    f    = sigmoid(W_f x + w_f * c<t-1> + b_f)
    r    = sigmoid(W_r x + w_r * c<t-1> + b_r)
    c<t> = f * c<t-1> + (1 - f) * (W_c x)
    h    = r * c + (1 - r) * (W_s x)
    """,
    source="Lei et al. 2018, Simple recurrent units for highly parallelizable recurrence, equations 1 to "
    "4; the skip is projected",
)

# Gated averaging of what convolutions deliver; no recurrent product.
cells.add(
    "qrnn",
    """
    z    = tanh(W_z x + b_z)
    f    = sigmoid(W_f x + b_f)
    o    = sigmoid(W_o x + b_o)
    c<t> = f * c<t-1> + (1 - f) * z
    h    = o * c
    """,
    source="Bradbury et al. 2017, Quasi-recurrent neural networks, fo-pooling with convolutions of width 1",
)

# ---- States of several speeds, and units made from differential equations

# A slow state, a leaky average of the input, beside a fast one.
cells.add(
    "scrn",
    """
    s<t> = 0.05 * (W_s x) + 0.95 * s<t-1>
    h<t> = sigmoid(W_p s + W_h x + R_h h<t-1>)
    k    = tanh(W_k h + W_c s)
    """,
    output="k",
    source="Mikolov et al. 2015, Learning longer memory in recurrent neural networks, equations 5 to 7, alpha = 0.95; "
    "the output joins both states, inside tanh where the paper has the softmax",
)

# A step along a stable differential equation: eigenvalues of W - W^T are imaginary.
cells.add(
    "antisymmetric_rnn",
    """
    gamma   = 0.01
    epsilon = 0.1
    a    = W_h h<t-1> - W_h^T h<t-1> - gamma * h<t-1>
    h<t> = h<t-1> + epsilon * tanh(a + V_h x + b_h)
    """,
    source="Chang et al. 2019, AntisymmetricRNN: a dynamical system view on recurrent neural networks, "
    "with diffusion gamma = 0.01 and step epsilon = 0.1",
)

# The same with a gate of the same matrix.
cells.add(
    "antisymmetric_rnn_gated",
    """
    gamma   = 0.01
    epsilon = 0.1
    a    = W_h h<t-1> - W_h^T h<t-1> - gamma * h<t-1>
    z    = sigmoid(a + V_z x + b_z)
    h<t> = h<t-1> + epsilon * z * tanh(a + V_h x + b_h)
    """,
    source="Chang et al. 2019, AntisymmetricRNN: a dynamical system view on recurrent neural networks, "
    "with its input gate, gamma = 0.01, epsilon = 0.1",
)

# Coupled, driven, damped oscillators: y is the position, z the velocity.
cells.add(
    "coRNN",
    """
    dt      = 0.05
    gamma   = 2.7
    epsilon = 4.7
    z<t> = z<t-1> + dt * (tanh(W_y y<t-1> + W_z z<t-1> + V x + b) - gamma * y<t-1> - epsilon * z<t-1>)
    y<t> = y<t-1> + dt * z
    """,
    output="y",
    source="Rusch and Mishra 2021, Coupled oscillatory recurrent neural network (coRNN), equation 3, all "
    "terms explicit",
)

# Two states, each with a time step of its own that is learned.
cells.add(
    "lem",
    """
    dt   = 1
    s    = dt * sigmoid(W_1 y<t-1> + V_1 x + b_1)
    q    = dt * sigmoid(W_2 y<t-1> + V_2 x + b_2)
    z<t> = (1 - s) * z<t-1> + s * tanh(W_z y<t-1> + V_z x + b_z)
    y<t> = (1 - q) * y<t-1> + q * tanh(W_y z + V_y x + b_y)
    """,
    output="y",
    source="Rusch et al. 2022, Long expressive memory for sequence modeling, equations 3 and 4",
)
