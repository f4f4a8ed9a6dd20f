defmodule Counter do
  @moduledoc """
  Counts.
  """
  use GenServer
  alias Counter.Store

  @timeout 5_000
  defstruct [:name, count: 0]

  @type t :: %__MODULE__{name: String.t(), count: integer()}

  @doc """
  Starts it.

      iex> Counter.start(:a)
  """
  @spec start(atom()) :: {:ok, pid()}
  def start(name) do
    GenServer.start_link(__MODULE__, name)
  end

  @doc "Adds one."
  def add(%__MODULE__{count: count} = counter, step \\ 1) when step > 0 do
    %{counter | count: count + step}
  end

  @impl true
  def handle_call(:get, _from, state), do: {:reply, state, state}

  # Not for others.
  defp store(state), do: Store.put(state)

  defmacro unless(condition, do: block) do
    quote do: if(!unquote(condition), do: unquote(block))
  end

  defmodule Store do
    def put(x), do: x
  end
end

defprotocol Size do
  @doc "How large."
  def size(value)
end

defimpl Size, for: Counter do
  def size(counter), do: counter.count
end
