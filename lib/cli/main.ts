#!/usr/bin/env node
import { Command, CommanderError } from 'commander'

import { version } from '../version.ts'
import { addDoctorCommand } from './doctor.ts'
import { addEmbedCommand } from './embed.ts'
import { addEvaluateCommand } from './evaluate.ts'
import { EXIT, Interrupted, failureCode, messageOf, unwatchInterrupt, watchInterrupt } from './exit.ts'
import { addModelsCommand } from './models.ts'
import { addSearchCommand } from './search.ts'

const program = new Command('embedding-engine')
  .description('Text and code embeddings, computed on this machine.')
  .version(version)
  .showHelpAfterError('(--help tells what there is)')
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })

addSearchCommand(program)
addEmbedCommand(program)
addEvaluateCommand(program)
addDoctorCommand(program)
addModelsCommand(program)
for (const command of program.commands) inheritExit(command)

function inheritExit(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help tells what there is)')
  for (const child of command.commands) inheritExit(child)
}

// A reader that leaves early, such as head, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.ok)
})

watchInterrupt()
try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = failureCode(error)
  // Commander has told its own errors already; an interrupt needs no words.
  const told = error instanceof CommanderError || error instanceof Interrupted
  if (!told) process.stderr.write(`embedding-engine: ${messageOf(error)}\n`)
}
unwatchInterrupt()
