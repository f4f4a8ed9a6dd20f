<?php
declare(strict_types=1);

namespace App\Mail;

use App\Models\User;

/**
 * Sends mail.
 */
#[Service]
final class Mailer extends Base implements Sender
{
    use Loggable;

    private const LIMIT = 10;

    public function __construct(private readonly Transport $transport) {}

    /** Sends one. */
    #[Retry(3)]
    public static function send(User $user, string ...$lines): bool
    {
        foreach ($lines as $line) {
            echo $line;
        }
        return true;
    }

    abstract protected function subject(): string;
}

interface Sender
{
    public function send(User $user): bool;
}

trait Loggable
{
    // Logs it.
    protected function log(string $line): void { error_log($line); }
}

enum Status: string
{
    case Sent = 'sent';

    public function label(): string { return ucfirst($this->value); }
}

/** Says hello. */
function hello(string $name): string
{
    return "Hello {$name}";
}

$double = fn (int $x): int => $x * 2;
?>
<p><?= hello('x') ?></p>
