"""Recurrent networks forecast waves, and only the gated ones remember over 30 to 60 steps.

First task: of a sum of two sine waves with noise, 50 steps are known; forecast the next 20. A network reads step by
step, and its last state has to hold what the forecast needs: frequencies and phases, which each series has its own. A
linear forecast has the same weights for all series, so it cannot adapt to them.

Second task, the adding problem (Hochreiter and Schmidhuber, "Long short-term memory", 1997): 60 random numbers, two of
them marked, both in the first half; the answer is the sum of the two. Who remembers nothing can but say 1, with a mean
squared error of 1/6. In a SimpleRNN the gradient is multiplied by a matrix and the slopes of tanh at each step back: it
shrinks, and what comes from the marks is lost beside what comes from the last numbers. LSTM and GRU carry their state
on by gates that can stay open, so that it passes.

Try: other STEPS (who adds over 10?), the noise of the waves, the units, the LSTM without `remembering`.
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import layers, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import sine_waves

STEPS = 60


def trained(layer, x, y, learning_rate, epochs, batch_size):
    """A network of one recurrent layer; what it has to say at the last step goes into a dense one."""
    model = models.Sequential([layers.Input(x.shape[1:]), layer, layers.Dense(y.shape[1])])
    batches = -(-len(x) // batch_size)
    rate = optimizers.schedules.CosineDecay(learning_rate, decay_steps=epochs * batches)
    model.compile(optimizers.Adam(rate, clipnorm=1.0), loss="mse")  # clipped: gradients through time can explode too
    model.fit(x, y, epochs=epochs, batch_size=batch_size, verbose=0)
    return model


def errors(forecast, y):
    return np.sqrt(np.mean((forecast - y) ** 2)), np.mean(np.abs(forecast - y))


def adding(samples, steps, seed):
    """x (samples, steps, 2), numbers and marks; y (samples, 1), the sum of the two numbers that are marked."""
    random = np.random.default_rng(seed)
    numbers, marks = random.uniform(size=(samples, steps)), np.zeros((samples, steps))
    marks[np.arange(samples), random.integers(0, steps // 4, samples)] = 1.0
    marks[np.arange(samples), random.integers(steps // 4, steps // 2, samples)] = 1.0
    x, y = np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=1, keepdims=True)
    return x.astype("float32"), y.astype("float32")


def remembering(shape, dtype=None):
    """Biases of an LSTM that begins by keeping what it has: input gates all but shut, forget gates open (Tallec and
    Ollivier, "Can recurrent neural networks warp time?", 2018, who draw a time for each unit; here all have STEPS)."""
    gates = np.repeat([-np.log(STEPS), np.log(STEPS), 0.0, 0.0], shape[0] // 4)  # of input, forget, candidate, output
    return tg.tensor(gates, dtype=dtype)


def forecast_waves(samples, epochs):
    """The forecasts of the test part by name, the figures, and the test part."""
    (x_train, y_train), (x_test, y_test) = sine_waves.load_data(samples=samples, horizon=20)
    print(f"forecasting 20 steps of {len(x_test)} series, after training on {len(x_train)} others")
    ahead = y_test.shape[1]
    forecasts = {}
    for layer in layers.SimpleRNN(32), layers.LSTM(32), layers.GRU(32):
        name = type(layer).__name__
        forecasts[name] = trained(layer, x_train, y_train, 0.01, epochs, batch_size=32).predict(x_test)
        report(name, forecasts[name], y_test)
    forecasts["last value"] = np.repeat(x_test[:, -1], ahead, axis=1)
    # each of the next steps as a weighted sum of the past ones and 1, by least squares
    past, past_test = (np.pad(x[:, :, 0], [(0, 0), (0, 1)], constant_values=1.0) for x in (x_train, x_test))
    forecasts["linear autoregression"] = past_test @ np.linalg.lstsq(past, y_train)[0]
    report("last value", forecasts["last value"], y_test)
    report("linear autoregression", forecasts["linear autoregression"], y_test)
    return forecasts, x_test, y_test


def report(name, forecast, y):
    rmse, mae = errors(forecast, y)
    print(f"  {name:<22} RMSE {rmse:.3f}   MAE {mae:.3f}")


def draw(forecasts, x_test, y_test, figures, reach):
    styles = {"SimpleRNN": ":", "LSTM": "-", "GRU": "--"}
    figure, axes = viz.subplots(2, 2, (11, 7))
    known, ahead = x_test.shape[1], y_test.shape[1]
    for row, ax in enumerate(axes.flat[:3]):
        series = np.append(x_test[row], y_test[row])
        ax.plot(np.arange(known), series[:known], color="0.6")
        ax.plot(np.arange(known - 1, known + ahead), series[known - 1 :], color="black", linewidth=2, label="truth")
        for name, line in styles.items():
            ax.plot(np.arange(known, known + ahead), forecasts[name][row], line, label=name)
        ax.set(title=f"Series {row + 1}: forecasts over the truth", xlabel="step", ylabel="value", ylim=(-2.4, 1.8))
    axes[0, 0].legend(loc="lower left", ncols=2, fontsize="small")
    ax = axes[1, 1]
    for name, line in styles.items():
        error = figures[f"adding: {name} MSE"]
        ax.semilogy(np.arange(len(reach[name])), reach[name], line, label=f"{name} (MSE {error:.2g})")
    ax.set(title="Adding: what each step means to the answer", xlabel="step", ylabel="mean length of the gradient")
    ax.legend(fontsize="small")
    return figure


def main(quick=False, plot=None):
    forecasts, x_test, y_test = forecast_waves(*((480, 12) if quick else (2560, 20)))
    figures = {f"{name} RMSE": errors(forecast, y_test)[0] for name, forecast in forecasts.items()}

    steps, samples, epochs = (20, 1024, 25) if quick else (STEPS, 4096, 15)
    x, y = adding(samples, steps, seed=1)
    x_held, y_held = adding(1024, steps, seed=2)
    print(f"adding two numbers that are marked among {steps}")
    reach = {}
    lstm = layers.LSTM(32, bias_initializer=remembering, unit_forget_bias=False)
    for layer in layers.SimpleRNN(32), lstm, layers.GRU(32):
        name = type(layer).__name__
        model = trained(layer, x, y, 0.02, epochs, batch_size=64)
        figures[f"adding: {name} MSE"] = model.evaluate(x_held, y_held, verbose=0)
        print(f"  {name:<22} MSE {figures[f'adding: {name} MSE']:.4f}")
        # how much the answer depends on what stood at each step: the gradient that training has to work with
        gradient = tg.grad(lambda x, model=model: model(x).sum())(tg.tensor(x_held)).detach().numpy()
        reach[name] = np.linalg.norm(gradient, axis=2).mean(axis=0)
    figures["adding: always the mean MSE"] = float(np.mean((y.mean() - y_held) ** 2))

    if plot:
        draw(forecasts, x_test, y_test, figures, reach).savefig(plot)
    return figures


if __name__ == "__main__":
    run(main)
