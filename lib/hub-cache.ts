import { coreOptions } from './environment.ts'
import { fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { Binding } from './native/binding.ts'
import type { EngineOptions, ModelRef } from './options.ts'

/** A model that was fetched. */
export interface ModelDownload {
  id: string
  revision: string | null
  /** The folder with its files. */
  path: string
  /** Of all its files. */
  bytes: number
  /** What came over the network. */
  downloadedBytes: number
  files: { file: string; bytes: number }[]
}

/** What hashing the files in the hub cache found. */
export interface Verification {
  ok: boolean
  bytes: number
  models: {
    id: string
    path: string
    ok: boolean
    files: { file: string; revision: string; bytes: number; ok: boolean; reason?: string }[]
  }[]
}

/** Where a model lies. */
export interface ModelPath {
  id: string
  revision: string | null
  path: string
}

/** What was removed from the hub cache. */
export interface RemovedModel {
  id: string
  revisions: string[]
  /** What was freed. */
  bytes: number
  path: string
}

/** The hub as it is seen from here. */
export interface HubStatus {
  /** Its address. */
  endpoint?: string
  /** Whether it may not be asked. */
  offline: boolean
  /** Whether a token would be sent to it. */
  token: boolean
  /** Whether it answers; missing where it may not be asked. */
  answers?: boolean
  milliseconds?: number
  /** Why it does not answer. */
  reason?: string
}

/** Where the hub cache and the hub are. */
export type HubOptions = Pick<EngineOptions, 'cacheDir' | 'home' | 'endpoint' | 'token' | 'offline'>

/** The folder of a model in the hub cache, without any network. */
export function modelPath(model: ModelRef, options: HubOptions = {}): ModelPath {
  return ask(options, (binding, json) => binding.modelPath(json, model)) as ModelPath
}

/** Removes a model from the hub cache; with `@revision` that snapshot and what only it has. */
export function removeModel(model: ModelRef, options: HubOptions = {}): RemovedModel {
  return ask(options, (binding, json) => binding.removeModel(json, model)) as RemovedModel
}

/** Where the hub is, and whether it answers. Takes 2.5 s at most. */
export async function hubStatus(options: HubOptions = {}): Promise<HubStatus> {
  try {
    const addon = loadAddon()
    return JSON.parse(await addon.binding.hubStatus(coreOptions(options, addon))) as HubStatus
  } catch (error) {
    throw fromNative(error)
  }
}

function ask(options: HubOptions, question: (binding: Binding, optionsJson: string) => string): unknown {
  try {
    const addon = loadAddon()
    return JSON.parse(question(addon.binding, coreOptions(options, addon)))
  } catch (error) {
    throw fromNative(error)
  }
}
