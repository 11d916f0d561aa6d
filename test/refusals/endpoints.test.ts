import { nothingRemains, refuses, useScene } from '../support/scene.ts'
import { endpoints } from './tables/endpoints.ts'
import { keys } from './tables/keys.ts'

const scene = useScene()

refuses(scene, [...endpoints, ...keys])
nothingRemains(scene)
