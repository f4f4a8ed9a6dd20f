import type { Command } from 'commander'

import { diagnose } from '../doctor.ts'
import type { DeviceInfo } from '../devices.ts'
import type { Diagnosis, FolderState } from '../doctor.ts'
import type { HubStatus } from '../hub-cache.ts'
import { EXIT, interrupt } from './exit.ts'
import { ProgressBar } from './progress-bar.ts'

/** `embedding-engine doctor` */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('Tell what works here, and why the rest does not.')
    .option('-m, --model <model>', 'also load this model; exit code 1 if that fails')
    .option('--device <device>', 'exit code 1 if this device cannot be used')
    .option('--json', 'for programs')
    .action(runDoctor)
}

async function runDoctor(flags: { model?: string; device?: string; json?: boolean }): Promise<void> {
  const bar = new ProgressBar()
  const { callback: onProgress } = bar
  const asked = { ...flags, signal: interrupt, onProgress, logger: bar.logger() }
  const diagnosis = await diagnose(asked).finally(() => bar.clear())
  process.stdout.write(flags.json ? `${JSON.stringify(diagnosis, undefined, 2)}\n` : inWords(diagnosis))
  if (!diagnosis.ok) process.exitCode = EXIT.failed
}

/** For people. */
function inWords({ versions, addon, onnxRuntime, core, hub, device, model, ok }: Diagnosis): string {
  const lines: string[] = []
  const section = (title: string): void => void lines.push('', title)
  const entry = (good: boolean, text: string): void => void lines.push(`  ${good ? '✓' : '✗'} ${text}`)

  lines.push(
    `embedding-engine ${versions.package}, Node ${versions.node}, ${versions.platform}, ${size(versions.memoryTotal)} of memory`,
  )
  section('Native addon')
  for (const { path, origin, loaded, code, message, remedy } of addon.attempts) {
    // What failed before another place worked is no trouble.
    if (loaded) entry(true, `${path} (${origin})`)
    else if (!addon.path) entry(false, `${path} (${origin}): ${code}: ${message}\n    ${remedy}`)
  }
  if (addon.problem && addon.attempts.every(({ loaded }) => loaded)) entry(false, addon.problem.message)
  if (core) {
    section('ONNX Runtime')
    const origin = onnxRuntime?.looked.find(({ found }) => found)?.origin
    if ('reason' in core.onnxRuntime) entry(false, core.onnxRuntime.reason)
    else entry(true, `${core.onnxRuntime.version}: ${core.onnxRuntime.path}${origin ? ` (${origin})` : ''}`)
    section('Devices')
    for (const info of core.devices) entry(info.available, deviceInWords(info))
    const used = typeof core.device === 'string' ? core.device : core.device.reason
    lines.push(`  used unless a call says otherwise: ${used}, with ${core.threads} threads`)
    section('Folders')
    for (const [name, folder] of [
      ['hub cache', core.cache],
      ['own state', core.home],
    ] as const) {
      entry(!('reason' in folder) && folder.writable, `${name}: ${folderInWords(folder)}`)
    }
  }
  if (hub) {
    section('Hub')
    entry(hub.answers !== false, hubInWords(hub))
  }
  if (device || model) section('Asked for')
  if (device) entry(device.available, `device ${device.asked}${device.available ? '' : `: ${device.reason}`}`)
  if (model?.info) {
    const { backend, pooling, attention, maxTokens, dtype } = model.info
    const words = `${backend} on ${model.info.device}, ${dtype}, ${pooling}, ${attention}, ${maxTokens} tokens`
    entry(true, `model ${model.asked}: ${words}`)
  }
  if (model?.problem) entry(false, `model ${model.asked}: ${model.problem.message} [${model.problem.code}]`)
  lines.push('', ok ? 'Everything that was asked for is there.' : 'Something that is needed is missing: see ✗ above.')
  return `${lines.join('\n')}\n`
}

function deviceInWords({ id, name, available, reason, memoryTotal, memoryFree, details }: DeviceInfo): string {
  const memory =
    memoryTotal === undefined
      ? ''
      : `, ${size(memoryTotal)}${memoryFree === undefined ? '' : `, ${size(memoryFree)} free`}`
  const more = Object.entries(details).map(([key, value]) => `\n      ${key}: ${detailInWords(value)}`)
  // Of a card that is there, all is told; of a kind of device that is not, only why.
  const what = available ? `${name}${memory}` : [memory && `${name}${memory}`, reason].filter(Boolean).join(': ')
  return `${id}: ${what}${available || memory || details.attempts ? more.join('') : ''}`
}

function detailInWords(value: unknown): string {
  if (!Array.isArray(value)) return String(value)
  const part = (part: unknown): string =>
    typeof part === 'object' && part !== null ? `\n        ${Object.values(part).join(': ')}` : String(part)
  return value.map(part).join(' ')
}

function folderInWords(folder: FolderState): string {
  if ('reason' in folder) return folder.reason
  const free = folder.freeSpace === null ? '' : `, ${size(folder.freeSpace)} free`
  return `${folder.path}${folder.exists ? '' : ' (not made yet)'}${folder.writable ? '' : ' (cannot be written)'}${free}`
}

function hubInWords({ endpoint, offline, token, answers, milliseconds, reason }: HubStatus): string {
  const where = `${endpoint ?? 'no address'}${token ? ', with a token' : ''}`
  if (offline) return `${where}: not asked, because the network may not be used (offline, HF_HUB_OFFLINE)`
  return answers ? `${where}: answers in ${milliseconds} ms` : `${where}: ${reason}`
}

function size(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
