import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { ExecutionContext } from 'ava'

import { model } from '../models.ts'
import { COMMIT, startHub } from './engine.ts'
import type { Hub } from './server.ts'

/** A hub that has one model, `o/n` at {@link COMMIT}, and stops when the test ends. */
export async function startHubWithModel(t: ExecutionContext): Promise<Hub> {
  const hub = await startHub(t)
  hub.add('o/n', model('bert-dense'), COMMIT)
  return hub
}

/** Requests for the model's weights, wherever the hub keeps them. */
export const WEIGHTS = /cdn GET .*\/[0-9a-f]{40}\/model\.safetensors/
/** Bytes of the weights: enough to break in the middle. */
export const WEIGHTS_SIZE = readFileSync(join(model('bert-dense'), 'model.safetensors')).length
