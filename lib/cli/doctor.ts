import type { Command } from 'commander'

import { diagnose } from '../doctor.ts'
import type { Diagnosis } from '../doctor.ts'
import { EXIT, interrupt } from './exit.ts'

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
  const diagnosis = await diagnose({ ...flags, signal: interrupt })
  process.stdout.write(flags.json ? `${JSON.stringify(diagnosis, undefined, 2)}\n` : inWords(diagnosis))
  if (!diagnosis.ok) process.exitCode = EXIT.failed
}

/** For people. */
function inWords({ versions, addon, onnxRuntime, devices, core, device, model, ok }: Diagnosis): string {
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
  if (addon.problem && addon.attempts.length === 0) entry(false, addon.problem.message)
  if (onnxRuntime) {
    section('ONNX Runtime')
    const found = onnxRuntime.looked.find((place) => place.found)
    if (found) entry(true, `${found.path} (${found.origin})`)
    else if (onnxRuntime.looked.length === 0)
      entry(false, 'no library for this platform; EMBEDDING_ENGINE_ONNXRUNTIME can name one')
    for (const { path, origin } of found ? [] : onnxRuntime.looked) entry(false, `${path} (${origin}) is not there`)
  }
  if (devices) {
    section('Devices')
    for (const { id, name, available, reason, memoryTotal } of devices) {
      const memory = memoryTotal === undefined ? '' : `, ${size(memoryTotal)}`
      entry(available, available ? `${id}: ${name}${memory}` : `${id}: ${reason ?? 'cannot be used'}`)
    }
  }
  if (core) {
    section('Core')
    lines.push(...indented(core, '  '))
  }
  if (device || model) section('Asked for')
  if (device) entry(device.available, `device ${device.asked}${device.available ? '' : `: ${device.reason}`}`)
  if (model?.info) {
    const { backend, pooling, attention, maxTokens, dtype } = model.info
    entry(
      true,
      `model ${model.asked}: ${backend} on ${model.info.device}, ${dtype}, ${pooling}, ${attention}, ${maxTokens} tokens`,
    )
  }
  if (model?.problem) entry(false, `model ${model.asked}: ${model.problem.message} [${model.problem.code}]`)
  lines.push('', ok ? 'All is well.' : 'Something that is needed is missing: see ✗ above.')
  return `${lines.join('\n')}\n`
}

/** What the core tells, whatever it is. */
function indented(value: Record<string, unknown>, indent: string): string[] {
  return Object.entries(value).flatMap(([name, item]) => {
    const label = name.replaceAll(/([A-Z])/g, ' $1').toLowerCase()
    if (typeof item === 'object' && item !== null && !Array.isArray(item)) {
      return [`${indent}${label}`, ...indented(item as Record<string, unknown>, `${indent}  `)]
    }
    return [`${indent}${label}: ${shown(name, item)}`]
  })
}

function shown(name: string, item: unknown): string {
  if (Array.isArray(item))
    return item.map((part) => (typeof part === 'object' ? JSON.stringify(part) : String(part))).join(', ')
  if (typeof item === 'number' && /bytes|memory|free|size|space/i.test(name)) return size(item)
  return item === null ? 'none' : String(item)
}

function size(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
