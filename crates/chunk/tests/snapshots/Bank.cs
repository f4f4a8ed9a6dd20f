using System;
using System.Collections.Generic;

namespace Example.Bank;

/// <summary>An account.</summary>
[Serializable]
public sealed class Account : IDisposable
{
    private decimal balance;

    public event EventHandler? Changed;

    public Account(decimal balance) => this.balance = balance;

    /// <summary>What is in it.</summary>
    public decimal Balance
    {
        get => balance;
        private set { balance = value; Changed?.Invoke(this, EventArgs.Empty); }
    }

    // Pays in.
    public async Task<bool> PayAsync<T>(T amount, CancellationToken token = default) where T : struct
    {
        await Task.Delay(1, token);
        return true;
    }

    public static Account operator +(Account a, Account b) => new(a.balance + b.balance);

    public decimal this[int index] => balance;

    public void Dispose() { }

    private enum State { Open, Closed }
}

public record Person(string Name, int Age);
public interface IStore { void Save(Account account); }
public delegate void Handler(object sender);
