// Everything that the bridge needs on Azure, in a resource group of its own. Odoo stays where it is.
//
//   azd up                                                                        (docs/azure.md)
//   az deployment sub create --location REGION --template-file main.bicep …       (without azd)
targetScope = 'subscription'

@description('Name of this installation, such as production. Part of the names of all resources.')
@minLength(1)
@maxLength(20)
param environmentName string

@description('Azure region of all resources.')
param location string

@description('Name of the Microsoft Entra user, group or application that administers the database.')
param databaseAdminName string

@description('Object id of that user, group or application.')
param databaseAdminId string

@allowed(['User', 'Group', 'Application'])
param databaseAdminType string = 'User'

@description('Size of the database: a DTU tier such as S1, or serverless such as GP_S_Gen5_1.')
param databaseSku string = 'S1'

@description('Copies of the messages: ZRS in three datacentres of the region, so that events are accepted while one is down. Not every region has it.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Address of Odoo, as the bridge reaches it.')
param odooUrl string

@description('Name of Odoo\'s database.')
param odooDatabase string

@description('API key of the bridge, made in Odoo. It is kept in the key vault.')
@secure()
param odooApiKey string

@description('Token of the API of ManyChat, if decisions go back there. It is kept in the key vault. Empty: nothing goes back.')
@secure()
param manychatApiToken string = ''

@description('Object id of Odoo\'s own identity, which then may put messages on the queues. Empty: Odoo uses a connection string.')
param odooPrincipalId string = ''

@description('Whether the storage account accepts its keys, and so connection strings and SAS. Needed if Odoo has no identity of its own.')
param allowSharedKey bool = false

@description('Addresses from which the API is reached, with commas: 203.0.113.5/32,198.51.100.0/24. Empty: the API has no address outside its environment.')
param apiAllowedAddresses string = ''

@description('Receives the alerts.')
param alertEmail string

@description('Most bridges that run at once. There is always one.')
@minValue(1)
@maxValue(30)
param maxBridges int = 4

@description('Image of the bridge. Empty at the first deployment, before there is one in the registry.')
param bridgeImage string = ''

@description('Image of the API: the same image.')
param apiImage string = ''

// Container Apps take no capitals in their names.
var installation = toLower(environmentName)
var tags = { 'azd-env-name': environmentName }
// Registry, storage account, vault and server have names that are unique on Azure.
var unique = uniqueString(subscription().id, environmentName, location)
// A small image that Microsoft publishes and that runs anywhere, until the first `azd deploy`.
var placeholder = 'mcr.microsoft.com/azuredocs/containerapps-helloworld:latest'

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-miasalud-${installation}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: { location: location, tags: tags, name: 'id-miasalud-${installation}' }
}

module registry 'modules/registry.bicep' = {
  scope: group
  name: 'registry'
  params: { location: location, tags: tags, name: 'crmiasalud${unique}', pullerId: identity.outputs.principalId }
}

module storage 'modules/storage.bicep' = {
  scope: group
  name: 'storage'
  params: {
    location: location
    tags: tags
    name: 'stmia${unique}'
    bridgeId: identity.outputs.principalId
    odooId: odooPrincipalId
    allowSharedKey: allowSharedKey
    sku: storageSku
  }
}

module database 'modules/database.bicep' = {
  scope: group
  name: 'database'
  params: {
    location: location
    tags: tags
    serverName: 'sql-miasalud-${unique}'
    adminName: databaseAdminName
    adminId: databaseAdminId
    adminType: databaseAdminType
    sku: databaseSku
  }
}

module vault 'modules/vault.bicep' = {
  scope: group
  name: 'vault'
  params: {
    location: location
    tags: tags
    name: 'kvmia${unique}'
    readerId: identity.outputs.principalId
    odooApiKey: odooApiKey
    manychatApiToken: manychatApiToken
  }
}

module apps 'modules/apps.bicep' = {
  scope: group
  name: 'apps'
  params: {
    location: location
    tags: tags
    environmentName: installation
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    registryServer: registry.outputs.server
    storageName: storage.outputs.name
    queueAccountUrl: storage.outputs.queueAccountUrl
    queues: storage.outputs.eventQueues
    databaseUrl: 'mssql+pyodbc://${identity.outputs.clientId}@${database.outputs.host}/${database.outputs.name}?Authentication=ActiveDirectoryMsi'
    odooUrl: odooUrl
    odooDatabase: odooDatabase
    odooApiKeyUri: vault.outputs.odooApiKeyUri
    manychatApiTokenUri: !empty(manychatApiToken) ? vault.outputs.manychatApiTokenUri : ''
    bridgeImage: empty(bridgeImage) ? placeholder : bridgeImage
    apiImage: empty(apiImage) ? placeholder : apiImage
    maxBridges: maxBridges
    apiAllowedAddresses: empty(apiAllowedAddresses) ? [] : split(apiAllowedAddresses, ',')
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    email: alertEmail
    workspaceId: apps.outputs.workspaceId
    bridgeId: apps.outputs.bridgeId
    apiId: apps.outputs.apiId
    storageId: storage.outputs.id
    databaseId: database.outputs.id
  }
}

// For azd, which stores them in its environment, and for the hooks beside azure.yaml.
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.server
output IDENTITY_NAME string = identity.outputs.name
output DATABASE_HOST string = database.outputs.host
output DATABASE_NAME string = database.outputs.name
output UPGRADE_JOB string = apps.outputs.upgradeJob
output OTHER_JOBS string = join(apps.outputs.otherJobs, ' ')

// For the operator. Odoo: odoo.conf, section [miasalud_crm], queue_account_url.
output ODOO_QUEUE_ACCOUNT_URL string = storage.outputs.queueAccountUrl
output API_URL string = apps.outputs.apiUrl
