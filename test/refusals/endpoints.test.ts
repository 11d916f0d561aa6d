import { testAftermath, testRefusals, useRefusalScene } from '../support/refusals.ts'
import { endpoints } from './tables/endpoints.ts'
import { keys } from './tables/keys.ts'

const scene = useRefusalScene()

testRefusals(scene, [...endpoints, ...keys])
testAftermath(scene)
